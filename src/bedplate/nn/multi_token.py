"""A decoder that also foresees tokens beyond the next one (multi-token prediction, DeepSeek-V3, arXiv 2412.19437,
section 2.2): one more block for each token ahead, after the stack and in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bedplate.nn.context import Context, ContextLayer
from bedplate.nn.decoder import Decoder
from bedplate.nn.linear import Linear
from bedplate.nn.mask import Mask
from bedplate.nn.norm import Norm
from bedplate.nn.residual import Block
from bedplate.nn.router import Routing, RoutingNotes
from bedplate.nn.stack import Embeddings


@dataclass(frozen=True)
class Ahead:
    """One depth: norm(block(W [norm(embedding of the token ahead); norm(states of the depth before)])).

    norm: of which each place has one of its own.
    """

    block: Block
    norm: Norm

    def build(self, width: int) -> AheadLayer:
        return AheadLayer(self, width)


class AheadLayer(nn.Module):
    """Hidden states and embeddings [B, T, width] -> hidden states [B, T, width], ready for the head."""

    def __init__(self, record: Ahead, width: int) -> None:
        super().__init__()
        self.embed_norm, self.hidden_norm = record.norm.build(width), record.norm.build(width)
        self.join = Linear(2 * width, width)
        self.block = record.block.build(width)
        self.norm = record.norm.build(width)

    def forward(self, hidden: Tensor, embedded: Tensor, context: Context) -> Tensor:
        joined = self.join(torch.cat((self.embed_norm(embedded), self.hidden_norm(hidden)), dim=-1))
        out: Tensor = self.norm(self.block(joined, context))
        return out


class MultiTokenDecoder(Decoder):
    """A decoder with depths that share its embedding and head. It writes as any decoder does, without them."""

    def __init__(
        self,
        width: int,
        embeddings: int | Embeddings,
        blocks: Sequence[Block],
        norm: Norm | None,
        *,
        tied: bool,
        ahead: Sequence[Ahead],
    ) -> None:
        super().__init__(width, embeddings, blocks, norm, tied=tied)
        self.ahead = nn.ModuleList(record.build(width) for record in ahead)
        self.number_layers()

    @property
    def cache_width(self) -> int:
        """Of the stack alone: only training looks further ahead."""
        return sum(m.cache_width for m in self.blocks.modules() if isinstance(m, ContextLayer))

    def look_ahead(
        self,
        hidden: Tensor,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        mask: Mask | None = None,
        routing: list[Routing] | None = None,
    ) -> list[Tensor]:
        """What each depth makes of hidden [B, T, width], which `forward` gave for the same tokens, positions and mask.

        Depth k = 1, 2, ... reads at place i also token i + k, and its states [B, T, width] at i foresee token
        i + k + 1, where the next-token head foresees i + 1. They mean nothing where i + k is beyond the row, or in
        another document: those places are for the loss to leave out, and no other place of the document sees them.
        routing: as in `forward`.
        """
        T = tokens.shape[1]
        if positions is None:
            positions = torch.arange(T, device=tokens.device)[None]
        context = self._context(positions, mask or Mask(), 0, T, hidden, None)
        context.routing = None if routing is None else RoutingNotes(routing)
        states = []
        for depth, layer in enumerate(self.ahead, start=1):
            # Filled up rather than cut, so that every depth has the same shapes and masks.
            tokens_ahead = F.pad(tokens[:, depth:], (0, min(depth, T)))
            hidden = layer(hidden, self.embedded(tokens_ahead, positions), context)
            states.append(hidden)
        return states
