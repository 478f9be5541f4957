"""The decoder: a stack whose positions see what came before them, and a head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bedplate.nn.cache import Cache
from bedplate.nn.head import Readout
from bedplate.nn.linear import Linear
from bedplate.nn.mask import Mask
from bedplate.nn.norm import Norm
from bedplate.nn.relative import RelativeBuckets
from bedplate.nn.residual import Block
from bedplate.nn.router import Routing
from bedplate.nn.stack import Embeddings, Stack


class Decoder(Stack):
    """A stack and a head that may be the embedding itself (tied).

    Hidden states are ready for the head, which is applied by who needs logits, so that a loss can take it in chunks.
    head_scale: of the hidden states before the head (T5 1 / sqrt(width), Granite 1 / logits_scaling). softcap: the
    logits become softcap * tanh(logits / softcap).
    """

    def __init__(
        self,
        width: int,
        embeddings: int | Embeddings,
        blocks: Sequence[Block],
        norm: Norm | None,
        *,
        tied: bool,
        relative: RelativeBuckets | None = None,
        head_bias: bool = False,
        head_scale: float = 1.0,
        softcap: float | None = None,
    ) -> None:
        super().__init__(width, embeddings, blocks, norm, relative)
        if tied and head_bias:
            raise ValueError("a tied head has no bias of its own")
        self.head_scale, self.softcap = head_scale, softcap
        self.head = None if tied else Linear(width, self.embed.weight.shape[0], bias=head_bias, role="head")

    @property
    def head_weight(self) -> Tensor:
        """[vocabulary, width]: the head's matrix, the embedding's where they are tied."""
        return self.embed.weight if self.head is None else self.head.weight

    @property
    def readout(self) -> Readout:
        """How its hidden states become logits."""
        return Readout(self.head_weight, None if self.head is None else self.head.bias, self.softcap)

    def head_states(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., width] as the readout takes them: a decoder's are ready."""
        return hidden

    def forward(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        token_types: Tensor | None = None,
        mask: Mask | None = None,
        cache: Cache | None = None,
        memory: Tensor | None = None,
        memory_valid: Tensor | None = None,
        routing: list[Routing] | None = None,
    ) -> Tensor:
        """As `Stack.forward`; the states scaled for the head."""
        x = super().forward(
            tokens, positions=positions, token_types=token_types, mask=mask, cache=cache, memory=memory,
            memory_valid=memory_valid, routing=routing,
        )  # fmt: skip
        return x if self.head_scale == 1.0 else x * torch.tensor(self.head_scale, dtype=x.dtype, device=x.device)
