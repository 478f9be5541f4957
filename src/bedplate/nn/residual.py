"""Residual lists: a block is a tuple of residual sublayers, run in turn or side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from bedplate.nn.context import Context
from bedplate.nn.norm import Norm


class Sublayer(Protocol):
    """A frozen record whose module maps (x [B, T, width], context) to the residual branch's [B, T, width]."""

    def build(self, width: int) -> nn.Module: ...


@dataclass(frozen=True)
class Residual:
    """out_norm(x + scale * post_norm(sublayer(pre_norm(x)))), each norm where there is one.

    pre_norm: as GPT-2 and Llama have it. out_norm: after the addition, as in the first Transformer and BERT. scale: of
    what is added (Granite's residual_multiplier).
    """

    sublayer: Sublayer
    pre_norm: Norm | None = None
    post_norm: Norm | None = None
    out_norm: Norm | None = None
    scale: float = 1.0

    def build(self, width: int) -> ResidualLayer:
        return ResidualLayer(self, width)


class ResidualLayer(nn.Module):
    def __init__(self, record: Residual, width: int) -> None:
        super().__init__()
        self.pre_norm = record.pre_norm.build(width) if record.pre_norm else None
        self.sublayer = record.sublayer.build(width)
        self.post_norm = record.post_norm.build(width) if record.post_norm else None
        self.out_norm = record.out_norm.build(width) if record.out_norm else None
        self.scale = record.scale

    def branch(self, x: Tensor, context: Context) -> Tensor:
        """What is added to x."""
        y: Tensor = self.sublayer(x if self.pre_norm is None else self.pre_norm(x), context)
        y = y if self.post_norm is None else self.post_norm(y)
        return y if self.scale == 1.0 else y * self.scale

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.branch(x, context)
        return x if self.out_norm is None else self.out_norm(x)


class Parallel(tuple[Residual, ...]):
    """Residuals that all read the same x: x + branch_1(x) + branch_2(x) (GPT-J, GPT-NeoX, arXiv 2204.06745)."""

    __slots__ = ()

    def __new__(cls, *residuals: Residual) -> Parallel:
        if any(r.out_norm for r in residuals):
            raise ValueError("out_norm follows one addition; side by side there is no such place")
        return super().__new__(cls, residuals)

    def build(self, width: int) -> ParallelLayer:
        return ParallelLayer(r.build(width) for r in self)


class ParallelLayer(nn.ModuleList):
    def forward(self, x: Tensor, context: Context) -> Tensor:
        out = x
        for residual in self:
            out = out + residual.branch(x, context)  # type: ignore[operator]
        return out


class Block(tuple[Residual | Parallel, ...]):
    """What one step of the stack runs in turn: Block(Residual(...), Residual(...))."""

    __slots__ = ()

    def __new__(cls, *residuals: Residual | Parallel) -> Block:
        return super().__new__(cls, residuals)

    def build(self, width: int) -> BlockLayer:
        return BlockLayer(r.build(width) for r in self)


class BlockLayer(nn.ModuleList):
    def forward(self, x: Tensor, context: Context) -> Tensor:
        for residual in self:
            x = residual(x, context)
        return x
