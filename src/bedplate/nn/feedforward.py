"""Feed-forward sublayers: SwiGLU (Shazeer 2020, arXiv 2002.05202) and the classic two-map GELU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from bedplate.nn.attention import Context
from bedplate.nn.linear import Linear


@dataclass(frozen=True)
class SwiGLU:
    """down(silu(gate(x)) * up(x)) with `hidden` inner features."""

    hidden: int
    bias: bool = False

    def build(self, width: int) -> SwiGLULayer:
        return SwiGLULayer(width, self.hidden, self.bias)


class SwiGLULayer(nn.Module):
    def __init__(self, width: int, hidden: int, bias: bool) -> None:
        super().__init__()
        self.gate = Linear(width, hidden, bias=bias, shard=0)
        self.up = Linear(width, hidden, bias=bias, shard=0)
        self.down = Linear(hidden, width, bias=bias, shard=1)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        out: Tensor = self.down(F.silu(self.gate(x)) * self.up(x))
        return out


@dataclass(frozen=True)
class GELU:
    """down(gelu(up(x))); approximate="tanh" is the GPT-2 form (Hendrycks and Gimpel 2016, arXiv 1606.08415)."""

    hidden: int
    bias: bool = True
    approximate: Literal["none", "tanh"] = "none"

    def build(self, width: int) -> GELULayer:
        return GELULayer(width, self)


class GELULayer(nn.Module):
    def __init__(self, width: int, record: GELU) -> None:
        super().__init__()
        self.approximate = record.approximate
        self.up = Linear(width, record.hidden, bias=record.bias, shard=0)
        self.down = Linear(record.hidden, width, bias=record.bias, shard=1)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        out: Tensor = self.down(F.gelu(self.up(x), approximate=self.approximate))
        return out
