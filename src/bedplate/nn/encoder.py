"""The encoder: a stack whose positions see each other both ways, and perhaps a head."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from bedplate.errors import InternalError
from bedplate.nn.encoder_heads import ClassHead, ClassHeadLayer, MaskedHead, MaskedHeadLayer
from bedplate.nn.head import Readout
from bedplate.nn.mask import Mask
from bedplate.nn.norm import Norm
from bedplate.nn.relative import RelativeBuckets
from bedplate.nn.residual import Block
from bedplate.nn.stack import Embeddings, Stack


class Encoder(Stack):
    """A stack read both ways. Its forward pass gives hidden states; the head, where there is one, is applied by who
    needs what it predicts: `readout` of `head_states` for masked tokens, `class_logits` for classes."""

    def __init__(
        self,
        width: int,
        embeddings: int | Embeddings,
        blocks: Sequence[Block],
        norm: Norm | None,
        *,
        relative: RelativeBuckets | None = None,
        order: Sequence[int] | None = None,
        head: MaskedHead | ClassHead | None = None,
    ) -> None:
        super().__init__(width, embeddings, blocks, norm, relative, order)
        self.width = width
        self.head: MaskedHeadLayer | ClassHeadLayer | None = None
        if isinstance(head, MaskedHead):
            self.head = head.build(width, self.embed.weight.shape[0])
        elif head is not None:
            self.head = head.build(width)

    @property
    def readout(self) -> Readout:
        """How `head_states` become logits. Raises InternalError where there is no head for masked tokens."""
        return self._masked_head.readout(self.embed.weight)

    def head_states(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., width] as the readout takes them. Raises as `readout`."""
        states: Tensor = self._masked_head(hidden)
        return states

    def class_logits(self, hidden: Tensor, valid: Tensor | None = None) -> Tensor:
        """hidden [B, T, width], valid [B, T] bool -> fp32 logits [B, K], or [B, T, K] where each token is classified.
        Raises InternalError where there is no head for classes."""
        if not isinstance(self.head, ClassHeadLayer):
            raise InternalError("this encoder has no head for classes", "Build it with a ClassHead.")
        logits: Tensor = self.head(hidden, valid)
        return logits

    @property
    def _masked_head(self) -> MaskedHeadLayer:
        if not isinstance(self.head, MaskedHeadLayer):
            raise InternalError("this encoder has no head for masked tokens", "Build it with a MaskedHead.")
        return self.head

    def forward(  # type: ignore[override]  # it has no past, and says padding and segments, not masks
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        token_types: Tensor | None = None,
        valid: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Tensor:
        """tokens [B, T] int64; positions [B or 1, T] int64, 0 to T - 1 where None; token_types [B or 1, T] int64, 0
        where None; valid [B, T] bool, False for padding; segments [B, T] int64, texts packed in one row apart.

        What comes back for padding is finite and means nothing.
        """
        mask = Mask(causal=False, segments=segments, valid=valid)
        return super().forward(tokens, positions=positions, token_types=token_types, mask=mask)
