"""The stack: embeddings, blocks and a last norm; tokens to hidden states. Decoders and encoders are stacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bedplate.nn.cache import Cache, KVCache
from bedplate.nn.context import Context, ContextLayer
from bedplate.nn.linear import Embedding, Linear
from bedplate.nn.mask import Mask
from bedplate.nn.norm import Norm
from bedplate.nn.relative import RelativeBuckets
from bedplate.nn.residual import Block
from bedplate.nn.rope import Rope
from bedplate.nn.router import RouterLayer, Routing, RoutingNotes
from bedplate.nn.token_dropout import TokenDropout


@dataclass(frozen=True)
class Embeddings:
    """norm(scale * token + position + type), each where there is one, in `inner` numbers that a map then makes the
    stack's width (ALBERT, arXiv 1909.11942), in the width itself where None.

    positions: rows of learned positions, none where 0; position_offset: the row of the first (RoBERTa's is 2).
    token_types: kinds of token that have a vector of their own (BERT's first and second sentence). dropout: masked
    tokens as dropped ones.
    """

    vocabulary: int
    positions: int = 0
    position_offset: int = 0
    token_types: int = 0
    norm: Norm | None = None
    scale: float = 1.0
    inner: int | None = None
    dropout: TokenDropout | None = None


class Stack(nn.Module):
    """Maps tokens [B, T] to hidden states [B, T, width].

    relative: learned relative positions, shared by the layers that ask for them. order: which blocks run in turn, by
    number, where that isn't each once (ALBERT runs one many times). compute_dtype: what activations are
    in; None means the embedding's own dtype.
    """

    def __init__(
        self,
        width: int,
        embeddings: int | Embeddings,
        blocks: Sequence[Block],
        norm: Norm | None,
        relative: RelativeBuckets | None = None,
        order: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        e = Embeddings(embeddings) if isinstance(embeddings, int) else embeddings
        inner = e.inner or width
        self.compute_dtype: torch.dtype | None = None
        self.embed_scale, self.position_offset = e.scale, e.position_offset
        self.token_dropout = e.dropout
        self.embed = Embedding(e.vocabulary, inner)
        self.embed_position = Embedding(e.positions, inner) if e.positions else None
        self.embed_type = Embedding(e.token_types, inner) if e.token_types else None
        self.embed_norm = e.norm.build(inner) if e.norm else None
        self.embed_project = Linear(inner, width, bias=True) if e.inner else None
        self.relative = relative.build() if relative else None
        self.blocks = nn.ModuleList(block.build(width) for block in blocks)
        self.order = tuple(range(len(blocks))) if order is None else tuple(order)
        self.norm = norm.build(width) if norm else None
        self._ropes: list[Rope] = []
        self._windows: list[int | None] = []
        self.number_layers()

    def number_layers(self) -> None:
        """Give every layer its places in cache and context; to be called again where layers are added."""
        layers = [m for m in self.modules() if isinstance(m, ContextLayer)]
        for i, layer in enumerate(layers):
            layer.layer = i
            if layer.position is not None:
                if layer.position not in self._ropes:
                    self._ropes.append(layer.position)
                layer.rope = self._ropes.index(layer.position)
            if layer.attends and layer.window not in self._windows:
                self._windows.append(layer.window)
        self.cached_layers = len(layers)

    @property
    def longest(self) -> int | None:
        """Learned positions, beyond which there are none; None where positions are computed."""
        return None if self.embed_position is None else self.embed_position.weight.shape[0] - self.position_offset

    @property
    def positions_depend_on_length(self) -> bool:
        """Whether a position is turned by an angle that the longest sequence of its batch decides (dynamic, longrope):
        then only a row alone, in one piece, is what it is meant to be."""
        return any(rope.scaling is not None and rope.scaling.depends_on_length for rope in self._ropes)

    @property
    def has_experts(self) -> bool:
        """Whether tokens are sent to some of many experts."""
        return any(isinstance(m, RouterLayer) for m in self.modules())

    @property
    def cache_width(self) -> int:
        """Numbers that the cache keeps of one position, over all layers."""
        return sum(m.cache_width for m in self.modules() if isinstance(m, ContextLayer))

    def new_cache(self, capacity: int) -> KVCache:
        return KVCache(self.cached_layers, capacity)

    def embedded(
        self, tokens: Tensor, positions: Tensor, token_types: Tensor | None = None, mask: Mask | None = None
    ) -> Tensor:
        """tokens [B, T], positions and token_types [B or 1, T] int64 -> [B, T, width] in the compute dtype."""
        x = self.embed(tokens)
        if self.embed_scale != 1.0:
            x = x * torch.tensor(self.embed_scale, dtype=x.dtype, device=x.device)
        if self.token_dropout is not None:
            mask = mask or Mask()
            x = self.token_dropout.applied(x, tokens, mask.valid, mask.segments)
        if self.embed_position is not None:
            x = x + self.embed_position(positions + self.position_offset)
        if self.embed_type is not None:
            x = x + (self.embed_type.weight[0] if token_types is None else self.embed_type(token_types))
        if self.embed_norm is not None:
            x = self.embed_norm(x)
        if self.compute_dtype is not None:
            x = x.to(self.compute_dtype)
        return x if self.embed_project is None else self.embed_project(x)

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
        """tokens [B, T] int64; positions [B or 1, T] int64, counted on from the cache where None. memory [B, M, width]:
        what cross-attention reads, memory_valid [B, M] bool: which of it exists. routing: gets what each layer of
        experts did, in turn."""
        past = 0 if cache is None else cache.length
        T = tokens.shape[1]
        if positions is None:
            positions = torch.arange(past, past + T, device=tokens.device)[None]
        x = self.embedded(tokens, positions, token_types, mask)
        context = self._context(positions, mask or Mask(), past, T, x, cache)
        context.routing = None if routing is None else RoutingNotes(routing)
        if memory is not None or memory_valid is not None:
            context.memory = memory
            seen = Mask(causal=False, valid=memory_valid)
            M = memory_valid.shape[1] if memory is None else memory.shape[1]  # type: ignore[union-attr]
            context.memory_mask = seen.lower(T, M, x.device, x.dtype)
        for number in self.order:
            x = self.blocks[number](x, context)
        if cache is not None:
            cache.advance(T)
        return x if self.norm is None else self.norm(x)

    def _context(self, positions: Tensor, mask: Mask, past: int, T: int, x: Tensor, cache: Cache | None) -> Context:
        return Context(
            rotary={i: rope.tables(positions, x.dtype) for i, rope in enumerate(self._ropes)},
            masks={w: mask.narrowed(w).lower(T, past + T, x.device, x.dtype) for w in self._windows},
            cache=cache,
            bias=None if self.relative is None else self.relative(T, past + T, x.dtype),
            valid=None if mask.valid is None else mask.valid[:, past : past + T],
            segments=mask.segments,
        )
