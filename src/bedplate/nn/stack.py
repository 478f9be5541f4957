"""Residual lists, blocks and the decoder: a stack is a list of blocks, a block a tuple of residual sublayers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from bedplate.nn.attention import AttentionLayer, Context
from bedplate.nn.cache import Cache, KVCache
from bedplate.nn.linear import Embedding, Linear
from bedplate.nn.mask import Mask
from bedplate.nn.norm import Norm
from bedplate.nn.rope import Rope


class Sublayer(Protocol):
    """A frozen record whose module maps (x [B, T, width], context) to the residual branch's [B, T, width]."""

    def build(self, width: int) -> nn.Module: ...


@dataclass(frozen=True)
class Residual:
    """out_norm(x + post_norm(sublayer(pre_norm(x)))), each norm where there is one.

    pre_norm: as GPT-2 and Llama have it. out_norm: after the addition, as in the first Transformer and BERT.
    """

    sublayer: Sublayer
    pre_norm: Norm | None = None
    post_norm: Norm | None = None
    out_norm: Norm | None = None

    def build(self, width: int) -> ResidualLayer:
        return ResidualLayer(self, width)


class ResidualLayer(nn.Module):
    def __init__(self, record: Residual, width: int) -> None:
        super().__init__()
        self.pre_norm = record.pre_norm.build(width) if record.pre_norm else None
        self.sublayer = record.sublayer.build(width)
        self.post_norm = record.post_norm.build(width) if record.post_norm else None
        self.out_norm = record.out_norm.build(width) if record.out_norm else None

    def forward(self, x: Tensor, context: Context) -> Tensor:
        y = x if self.pre_norm is None else self.pre_norm(x)
        y = self.sublayer(y, context)
        x = x + (y if self.post_norm is None else self.post_norm(y))
        return x if self.out_norm is None else self.out_norm(x)


class Block(tuple[Residual, ...]):
    """The residual sublayers that one step of the stack runs in turn: Block(Residual(...), Residual(...))."""

    __slots__ = ()

    def __new__(cls, *residuals: Residual) -> Block:
        return super().__new__(cls, residuals)

    def build(self, width: int) -> BlockLayer:
        return BlockLayer(r.build(width) for r in self)


class BlockLayer(nn.ModuleList):
    def forward(self, x: Tensor, context: Context) -> Tensor:
        for residual in self:
            x = residual(x, context)
        return x


class Decoder(nn.Module):
    """Embedding, blocks, a last norm and a head that may be the embedding itself (tied).

    Maps tokens [B, T] to hidden states [B, T, width]; the head is applied by who needs logits, so that a loss can
    take it in chunks. compute_dtype: what activations are in; None means the embedding's own dtype.
    """

    def __init__(self, width: int, vocabulary: int, blocks: Sequence[Block], norm: Norm | None, *, tied: bool) -> None:
        super().__init__()
        self.compute_dtype: torch.dtype | None = None
        self.embed = Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(block.build(width) for block in blocks)
        self.norm = norm.build(width) if norm else None
        self.head = None if tied else Linear(width, vocabulary, role="head")
        self._ropes: list[Rope] = []
        self._windows: list[int | None] = []
        self._number_layers()

    def _number_layers(self) -> None:
        layers = [m for m in self.modules() if isinstance(m, AttentionLayer)]
        for i, attention in enumerate(layers):
            attention.layer = i
            if attention.position is not None:
                if attention.position not in self._ropes:
                    self._ropes.append(attention.position)
                attention.rope = self._ropes.index(attention.position)
            if attention.window not in self._windows:
                self._windows.append(attention.window)
        self.attention_layers = len(layers)

    @property
    def head_weight(self) -> Tensor:
        """[vocabulary, width]: the head's matrix, the embedding's where they are tied."""
        return self.embed.weight if self.head is None else self.head.weight

    def new_cache(self, capacity: int) -> KVCache:
        return KVCache(self.attention_layers, capacity)

    def forward(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        mask: Mask | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """tokens [B, T] int64; positions [B or 1, T] int64, counted on from the cache where None."""
        x = self.embed(tokens)
        if self.compute_dtype is not None:
            x = x.to(self.compute_dtype)
        past = 0 if cache is None else cache.length
        T = tokens.shape[1]
        if positions is None:
            positions = torch.arange(past, past + T, device=tokens.device)[None]
        context = self._context(positions, mask or Mask(), past, T, x, cache)
        for block in self.blocks:
            x = block(x, context)
        if cache is not None:
            cache.advance(T)
        return x if self.norm is None else self.norm(x)

    def _context(self, positions: Tensor, mask: Mask, past: int, T: int, x: Tensor, cache: Cache | None) -> Context:
        return Context(
            rotary={i: rope.tables(positions, x.dtype) for i, rope in enumerate(self._ropes)},
            masks={w: mask.narrowed(w).lower(T, past + T, x.device, x.dtype) for w in self._windows},
            cache=cache,
        )
