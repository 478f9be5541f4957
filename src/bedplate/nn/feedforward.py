"""Feed-forward sublayers: gated (Shazeer 2020, arXiv 2002.05202) and two maps with a function between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bedplate.nn.context import Context
from bedplate.nn.linear import Linear

Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "silu", "tanh"]
"""gelu: Hendrycks and Gimpel 2016, arXiv 1606.08415; gelu_tanh: its approximation, the GPT-2 form; quick_gelu:
x * sigmoid(1.702 x), CLIP's."""


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "quick_gelu": _quick_gelu,
    "relu": F.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
}


@dataclass(frozen=True)
class Gated:
    """down(activation(gate(x)) * up(x)) with `hidden` inner features: SwiGLU with silu, GeGLU with a gelu."""

    hidden: int
    activation: Activation = "silu"
    bias: bool = False

    def build(self, width: int) -> GatedLayer:
        return GatedLayer(width, self.hidden, self.bias, ACTIVATIONS[self.activation])


def SwiGLU(hidden: int, bias: bool = False) -> Gated:  # noqa: N802  # a record's name, as the field has it
    """down(silu(gate(x)) * up(x))."""
    return Gated(hidden, "silu", bias)


class GatedLayer(nn.Module):
    def __init__(self, width: int, hidden: int, bias: bool, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.activation = activation
        self.gate = Linear(width, hidden, bias=bias, shard=0)
        self.up = Linear(width, hidden, bias=bias, shard=0)
        self.down = Linear(hidden, width, bias=bias, shard=1)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        out: Tensor = self.down(self.activation(self.gate(x)) * self.up(x))
        return out


@dataclass(frozen=True)
class FeedForward:
    """down(activation(up(x))), as in the first Transformer (arXiv 1706.03762)."""

    hidden: int
    activation: Activation = "gelu"
    bias: bool = True

    def build(self, width: int) -> FeedForwardLayer:
        return FeedForwardLayer(width, self.hidden, self.bias, ACTIVATIONS[self.activation])


class FeedForwardLayer(nn.Module):
    def __init__(self, width: int, hidden: int, bias: bool, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.activation = activation
        self.up = Linear(width, hidden, bias=bias, shard=0)
        self.down = Linear(hidden, width, bias=bias, shard=1)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        out: Tensor = self.down(self.activation(self.up(x)))
        return out
