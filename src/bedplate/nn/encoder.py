"""The encoder: a stack whose positions see each other both ways."""

from __future__ import annotations

from torch import Tensor

from bedplate.nn.mask import Mask
from bedplate.nn.stack import Stack


class Encoder(Stack):
    """A stack without a head, read both ways."""

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
