"""Feed-forward sublayers: SwiGLU (Shazeer 2020, arXiv 2002.05202) and two maps with a function between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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

    def build(self, width: int) -> TwoMapLayer:
        return TwoMapLayer(width, self.hidden, self.bias, partial(F.gelu, approximate=self.approximate))


@dataclass(frozen=True)
class ReLU:
    """down(relu(up(x))), as in the first Transformer (arXiv 1706.03762)."""

    hidden: int
    bias: bool = True

    def build(self, width: int) -> TwoMapLayer:
        return TwoMapLayer(width, self.hidden, self.bias, F.relu)


@dataclass(frozen=True)
class SiLU:
    """down(silu(up(x)))."""

    hidden: int
    bias: bool = True

    def build(self, width: int) -> TwoMapLayer:
        return TwoMapLayer(width, self.hidden, self.bias, F.silu)


class TwoMapLayer(nn.Module):
    def __init__(self, width: int, hidden: int, bias: bool, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.activation = activation
        self.up = Linear(width, hidden, bias=bias, shard=0)
        self.down = Linear(hidden, width, bias=bias, shard=1)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        out: Tensor = self.down(self.activation(self.up(x)))
        return out
