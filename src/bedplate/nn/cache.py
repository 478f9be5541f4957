"""Keys and values of the past. The cache owns `attend`, so that another layout (paged, say) changes no layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from bedplate.nn.attend import attend
from bedplate.nn.mask import Lowered


class Cache(Protocol):
    """What the stack and its attention layers ask of a cache."""

    @property
    def length(self) -> int:
        """How many positions came before the ones now computed."""
        ...

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Lowered, scale: float) -> Tensor:
        """Keep k, v [B, G, T, D] as `layer`'s newest and attend from q [B, H, T, D] to all that it holds."""
        ...

    def advance(self, count: int) -> None:
        """All layers have seen `count` more positions."""
        ...


class KVCache:
    """One contiguous block a layer, grown when it is full: [B, G, capacity, D]."""

    def __init__(self, layers: int, capacity: int) -> None:
        self.capacity = max(capacity, 1)
        self._length = 0
        self._blocks: list[tuple[Tensor, Tensor] | None] = [None] * layers

    @property
    def length(self) -> int:
        return self._length

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Lowered, scale: float) -> Tensor:
        end = self._length + k.shape[2]
        keys, values = self._room(layer, k, v, end)
        keys[:, :, self._length : end] = k
        values[:, :, self._length : end] = v
        return attend(q, keys[:, :, :end], values[:, :, :end], mask, scale)

    def advance(self, count: int) -> None:
        self._length += count

    def select(self, rows: Tensor) -> None:
        """Keep only these rows of the batch (int64 [n]), in this order: finished sequences leave."""
        self._blocks = [None if b is None else (b[0][rows], b[1][rows]) for b in self._blocks]

    @classmethod
    def joined(cls, parts: Sequence[tuple[KVCache, int]], capacity: int) -> KVCache:
        """One batch of the rows of several caches, in order. Of each (cache, count) the newest `count` positions are
        kept, set to the right; what stands before a shorter part's is zero and is for the caller to mask."""
        length = max(count for _, count in parts)
        joined = cls(len(parts[0][0]._blocks), max(capacity, length))
        joined._length = length
        for layer in range(len(joined._blocks)):
            joined._blocks[layer] = joined._set_right(parts, layer, 0), joined._set_right(parts, layer, 1)
        return joined

    def _set_right(self, parts: Sequence[tuple[KVCache, int]], layer: int, which: int) -> Tensor:
        blocks = [cache._blocks[layer] for cache, _ in parts]
        sources = [block[which] for block in blocks if block is not None]
        rows, (_, G, _, D) = sum(s.shape[0] for s in sources), sources[0].shape
        out = sources[0].new_zeros(rows, G, self.capacity, D)
        first = 0
        for source, (cache, count) in zip(sources, parts, strict=True):
            last = first + source.shape[0]
            out[first:last, :, self._length - count : self._length] = source[
                :, :, cache._length - count : cache._length
            ]
            first = last
        return out

    def _room(self, layer: int, k: Tensor, v: Tensor, end: int) -> tuple[Tensor, Tensor]:
        block = self._blocks[layer]
        if block is None:
            self.capacity = max(self.capacity, end)
            block = (
                k.new_empty(*k.shape[:2], self.capacity, k.shape[3]),
                v.new_empty(*v.shape[:2], self.capacity, v.shape[3]),
            )
        elif block[0].shape[2] < end:
            room = max(end, 2 * block[0].shape[2])
            self.capacity = max(self.capacity, room)
            block = _grown(block[0], room), _grown(block[1], room)
        self._blocks[layer] = block
        return block


def _grown(block: Tensor, capacity: int) -> Tensor:
    larger = torch.empty(*block.shape[:2], capacity, block.shape[3], dtype=block.dtype, device=block.device)
    larger[:, :, : block.shape[2]] = block
    return larger
