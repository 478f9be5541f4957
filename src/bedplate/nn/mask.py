"""Who may attend to whom, as a small value that each attention backend lowers in its own way."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

# Added to a forbidden score. Finite, so that a row with nothing allowed (a padded query) gives a harmless mean and
# not NaN, and far enough down that exp() of it is exactly zero beside any allowed score.
FORBIDDEN = -1e30
_FORBIDDEN_FP16 = -6e4


@dataclass(frozen=True)
class Mask:
    """What a query may see. Queries are the last T of the S keys.

    causal: nothing after itself. window: only what is less than `window` positions away, itself included: before it
    where causal, on both sides otherwise. segments [B, T]: only its own document. valid [B, S] bool: keys that exist
    (padding is False). prefix [B, S] bool, with causal: keys that later and earlier queries see alike (prefix-LM,
    arXiv 1910.10683, section 3.2.1).
    """

    causal: bool = True
    window: int | None = None
    segments: Tensor | None = None
    valid: Tensor | None = None
    prefix: Tensor | None = None

    def dense(self, queries: int, keys: int, device: torch.device) -> Tensor:
        """[1 or B, 1, queries, keys] bool, True where attention is allowed: the reference for every backend."""
        i = torch.arange(keys - queries, keys, device=device)[:, None]
        j = torch.arange(keys, device=device)[None, :]
        allowed = torch.ones(queries, keys, dtype=torch.bool, device=device)
        if self.causal:
            allowed = j <= i
        allowed = allowed[None, None]
        if self.causal and self.prefix is not None:
            self._tells_of("prefix", self.prefix, keys)
            allowed = allowed | self.prefix[:, None, None, :keys]
        if self.window is not None:
            allowed = allowed & (j > i - self.window) & (j < i + self.window)
        if self.segments is not None:
            if not queries == keys == self.segments.shape[1]:
                raise ValueError(
                    f"segments of {self.segments.shape[1]} positions, {queries} queries, {keys} keys: they describe "
                    "whole rows and can't be used with a cache"
                )
            allowed = allowed & (self.segments[:, None, :, None] == self.segments[:, None, None, :])
        if self.valid is not None:
            self._tells_of("valid", self.valid, keys)
            allowed = allowed & self.valid[:, None, None, :keys]
        return allowed

    @staticmethod
    def _tells_of(name: str, given: Tensor, keys: int) -> None:
        if given.shape[1] < keys:
            raise ValueError(f"{name} tells of {given.shape[1]} keys and there are {keys}")

    def narrowed(self, window: int | None) -> Mask:
        """The same mask with a layer's sliding window, the narrower of the two where both say one."""
        if window is None or (self.window is not None and self.window <= window):
            return self
        return replace(self, window=window)

    def lower(self, queries: int, keys: int, device: torch.device, dtype: torch.dtype) -> Lowered:
        """What backends take: done once a forward pass and window, not once a layer."""
        wide = self.window is None or self.window >= keys
        causal = self.causal and self.prefix is None
        plain = self.segments is None and self.valid is None and self.prefix is None and wide
        if plain and (queries == 1 or not causal):
            return Lowered(bias=None, causal=False)
        if plain and queries == keys and device.type != "cpu":
            return Lowered(bias=None, causal=True)
        forbidden = _FORBIDDEN_FP16 if dtype == torch.float16 else FORBIDDEN
        only_padding = self.valid is not None and self.segments is None and wide and not self.causal
        # Every query then sees the same keys, and one row says it for all.
        allowed = self.dense(1 if only_padding else queries, keys, device)
        bias = torch.zeros(allowed.shape, dtype=dtype, device=device).masked_fill_(~allowed, forbidden)
        return Lowered(bias=bias, causal=causal)


@dataclass(frozen=True)
class Lowered:
    """bias [1 or B, 1, T or 1, S] is added to the scores, None where nothing is forbidden (or, off the CPU, where plain
    causality says it all). causal: no key after its query, which lets a backend skip blocks."""

    bias: Tensor | None
    causal: bool
