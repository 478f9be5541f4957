"""Keys and values of the past, and states. The cache owns `attend`, so that another layout (paged, say) changes no
layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from bedplate.nn.attend import attend
from bedplate.nn.mask import Lowered


class Cache(Protocol):
    """What the stack and its layers ask of a cache."""

    @property
    def length(self) -> int:
        """How many positions came before the ones now computed."""
        ...

    def attend(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Lowered,
        scale: float,
        *,
        softcap: float | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Keep k, v [B, G, T, D] as `layer`'s newest and attend from q [B, H, T, D] to all that it holds."""
        ...

    def extend(self, layer: int, *new: Tensor) -> tuple[Tensor, ...]:
        """Keep tensors [B, G, T, D] as `layer`'s newest; all that it holds, [B, G, past + T, D] each. For layers that
        keep something else than keys and values (latents, arXiv 2405.04434)."""
        ...

    def state(self, layer: int) -> tuple[Tensor, ...] | None:
        """What `keep_state` was last given for this layer; None before."""
        ...

    def keep_state(self, layer: int, state: tuple[Tensor, ...]) -> None:
        """Keep tensors [B, ...] that don't grow with the text: a recurrent layer's state, an encoder's keys."""
        ...

    def advance(self, count: int) -> None:
        """All layers have seen `count` more positions."""
        ...


class KVCache:
    """One contiguous block a layer and tensor, grown when it is full: [B, G, capacity, D]."""

    def __init__(self, layers: int, capacity: int) -> None:
        self.capacity = max(capacity, 1)
        self._length = 0
        self._blocks: list[tuple[Tensor, ...] | None] = [None] * layers
        self._states: list[tuple[Tensor, ...] | None] = [None] * layers

    @property
    def length(self) -> int:
        return self._length

    def attend(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Lowered,
        scale: float,
        *,
        softcap: float | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        keys, values = self.extend(layer, k, v)
        return attend(q, keys, values, mask, scale, softcap=softcap, bias=bias)

    def extend(self, layer: int, *new: Tensor) -> tuple[Tensor, ...]:
        end = self._length + new[0].shape[2]
        block = self._room(layer, new, end)
        for held, more in zip(block, new, strict=True):
            held[:, :, self._length : end] = more
        return tuple(held[:, :, :end] for held in block)

    def state(self, layer: int) -> tuple[Tensor, ...] | None:
        return self._states[layer]

    def keep_state(self, layer: int, state: tuple[Tensor, ...]) -> None:
        self._states[layer] = state

    def advance(self, count: int) -> None:
        self._length += count

    def select(self, rows: Tensor) -> None:
        """Keep only these rows of the batch (int64 [n]), in this order: finished sequences leave."""
        self._blocks = [None if b is None else tuple(t[rows] for t in b) for b in self._blocks]
        self._states = [None if s is None else tuple(t[rows] for t in s) for s in self._states]

    @classmethod
    def joined(cls, parts: Sequence[tuple[KVCache, int]], capacity: int) -> KVCache:
        """One batch of the rows of several caches, in order. Of each (cache, count) the newest `count` positions are
        kept, set to the right; what stands before a shorter part's is zero and is for the caller to mask. So is what
        stands after an encoder's keys [B, G, M, D] where they are fewer than another part's."""
        length = max(count for _, count in parts)
        first = parts[0][0]
        joined = cls(len(first._blocks), max(capacity, length))
        joined._length = length
        for layer, (block, state) in enumerate(zip(first._blocks, first._states, strict=True)):
            if block is not None:
                joined._blocks[layer] = tuple(joined._set_right(parts, layer, which) for which in range(len(block)))
            if state is not None:
                states = [cache._states[layer] or () for cache, _ in parts]
                joined._states[layer] = tuple(_rows(tensors) for tensors in zip(*states, strict=True))
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

    def _room(self, layer: int, new: Sequence[Tensor], end: int) -> tuple[Tensor, ...]:
        block = self._blocks[layer]
        if block is None:
            self.capacity = max(self.capacity, end)
            block = tuple(t.new_empty(*t.shape[:2], self.capacity, t.shape[3]) for t in new)
        elif block[0].shape[2] < end:
            room = max(end, 2 * block[0].shape[2])
            self.capacity = max(self.capacity, room)
            block = tuple(_grown(t, room) for t in block)
        self._blocks[layer] = block
        return block


def _rows(tensors: Sequence[Tensor]) -> Tensor:
    """One below the other; of keys [B, G, M, D] the fewer are filled up with zeros."""
    if tensors[0].dim() == 4:
        most = max(t.shape[2] for t in tensors)
        tensors = [F.pad(t, (0, 0, 0, most - t.shape[2])) for t in tensors]
    return torch.cat(list(tensors))


def _grown(block: Tensor, capacity: int) -> Tensor:
    larger = torch.empty(*block.shape[:2], capacity, block.shape[3], dtype=block.dtype, device=block.device)
    larger[:, :, : block.shape[2]] = block
    return larger
