"""The long short-term memory as a sublayer (Hochreiter and Schmidhuber 1997; forget gates of Gers et al. 2000)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bedplate.nn.context import Context, ContextLayer
from bedplate.nn.linear import Linear


@dataclass(frozen=True)
class LSTM:
    """`hidden` cells, and a map from their outputs back to the stack's width."""

    hidden: int

    def build(self, width: int) -> LSTMLayer:
        return LSTMLayer(width, self.hidden)


class LSTMLayer(ContextLayer):
    """x [B, T, width] -> [B, T, width].

    i, f, g, o = W_x x_t + W_h h_{t-1} + b (torch.nn.LSTM's order); c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g);
    h_t = sigmoid(o) tanh(c_t). The state begins anew with every segment and passes over padding unchanged; in the
    cache it is (h, c), [B, hidden] each.
    """

    attends = False

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.input = Linear(width, 4 * hidden, bias=True)
        self.recurrent = Linear(hidden, 4 * hidden)
        self.o = Linear(hidden, width)

    # A loop of as many turns as the row has tokens: to unroll it would take a compiler minutes.
    @torch.compiler.disable
    def forward(self, x: Tensor, context: Context) -> Tensor:
        B, T, _ = x.shape
        gates = self.input(x)
        state = None if context.cache is None else context.cache.state(self.layer)
        h, c = (x.new_zeros(B, self.hidden), x.new_zeros(B, self.hidden)) if state is None else state
        begins = None if context.segments is None else _begins(context.segments)
        weight = self.recurrent.weight.to(x.dtype)
        outputs = []
        for t in range(T):
            if begins is not None:
                stays = (~begins[:, t, None]).to(x.dtype)
                h, c = h * stays, c * stays
            i, f, g, o = (gates[:, t] + F.linear(h, weight)).chunk(4, dim=-1)
            new_c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            new_h = torch.sigmoid(o) * torch.tanh(new_c)
            if context.valid is not None:
                exists = context.valid[:, t, None]
                new_h, new_c = torch.where(exists, new_h, h), torch.where(exists, new_c, c)
            h, c = new_h, new_c
            outputs.append(h)
        if context.cache is not None:
            context.cache.keep_state(self.layer, (h, c))
        out: Tensor = self.o(torch.stack(outputs, dim=1))
        return out


def _begins(segments: Tensor) -> Tensor:
    """segments [B, T] -> bool [B, T]: whether a document begins here."""
    begins = torch.zeros_like(segments, dtype=torch.bool)
    begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
    return begins
