"""`Batch`: sequences that are decoded together, which join and leave as they come and end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from bedplate.families.model import Model
from bedplate.nn.cache import KVCache
from bedplate.nn.mask import Mask

PREFILL_TOKENS = 8192
"""Most tokens, padding included, in one forward pass over prompts: bounds the memory of activations."""
PADDING = 64
"""A prompt is padded by no more than this or a quarter of its length: wasted work that costs less than another pass.
When rows leave, no more of the cache than that stays empty."""


class Batch:
    """Rows of unequal length, set to the right in one cache: `starts` says in which slot each row begins.

    Positions count from each row's own first token and the slots before it are masked, so a row's logits are those it
    would have alone, but for rounding.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._cache: KVCache | None = None
        self._lengths: list[int] = []
        self._starts = torch.zeros(0, dtype=torch.int64, device=model.device)

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def length(self) -> int:
        """Positions of the cache in use, those before short rows included."""
        return 0 if self._cache is None else self._cache.length

    @torch.inference_mode()
    def add(self, prompts: Sequence[Sequence[int]], room: int) -> Tensor:
        """Read prompts as new last rows; the logits [n, V] of each one's next token. room: positions to make ready
        beyond them. Prompts sorted by length are read with the least padding. Where it fails nothing has changed."""
        groups = list(grouped(prompts))
        alone = self._cache is None and len(groups) == 1
        parts, logits = [], []
        for group in groups:
            longest = max(map(len, group))
            cache = self._model.new_cache(longest + room if alone else longest)
            logits.append(self._read(group, longest, cache))
            parts.append((cache, longest))
        self._join(parts, [len(prompt) for group in groups for prompt in group], room)
        return torch.cat(logits)

    @torch.inference_mode()
    def adopt(self, read: Reading, room: int) -> None:
        """A prompt that has been read in parts becomes the last row."""
        self._join([(read.cache, read.done)], [read.done], room)

    @torch.inference_mode()
    def step(self, tokens: Tensor) -> Tensor:
        """Append a token to each row, [B] int64; the logits [B, V] of the ones after."""
        assert self._cache is not None
        length = self._cache.length
        positions, mask = None, None
        if min(self._lengths) < length:  # somewhere there is padding
            positions = (length - self._starts)[:, None]
            mask = Mask(valid=torch.arange(length + 1, device=tokens.device) >= self._starts[:, None])
        hidden = self._model.hidden(tokens[:, None], positions=positions, mask=mask, cache=self._cache)
        self._lengths = [n + 1 for n in self._lengths]
        return self._model.logits(hidden[:, -1])

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Let go of all rows but these, which are in order. Where it fails, for want of memory, the batch is lost."""
        if len(rows) == len(self._lengths):
            return
        lengths, cache = [self._lengths[row] for row in rows], self._cache if rows else None
        if cache is not None:
            cache.select(torch.tensor(rows, device=self._model.device))
            longest = max(lengths)
            if cache.length - longest > max(PADDING, longest // 4):  # only those that left needed so much
                cache = KVCache.joined([(cache, longest)], longest + PADDING)
        self._lengths, self._cache = lengths, cache
        self._set_starts()

    def _join(self, parts: list[tuple[KVCache, int]], lengths: list[int], room: int) -> None:
        if self._cache is not None:
            parts = [(self._cache, max(self._lengths)), *parts]
        lengths = self._lengths + lengths
        ready = len(parts) == 1 and parts[0][0].capacity >= max(lengths) + room
        self._cache = parts[0][0] if ready else KVCache.joined(parts, max(lengths) + room)
        self._lengths = lengths
        self._set_starts()

    def _read(self, group: Sequence[Sequence[int]], longest: int, cache: KVCache) -> Tensor:
        device = self._model.device
        tokens = torch.tensor([[0] * (longest - len(p)) + list(p) for p in group], device=device)
        positions, mask = None, None
        if any(len(p) < longest for p in group):
            starts = torch.tensor([longest - len(p) for p in group], device=device)[:, None]
            slots = torch.arange(longest, device=device)
            positions, mask = (slots - starts).clamp(min=0), Mask(valid=slots >= starts)
        hidden = self._model.hidden(tokens, positions=positions, mask=mask, cache=cache)
        return self._model.logits(hidden[:, -1])

    def _set_starts(self) -> None:
        length = 0 if self._cache is None else self._cache.length
        self._starts = torch.tensor([length - n for n in self._lengths], dtype=torch.int64, device=self._model.device)


class Reading:
    """A prompt that is read in parts, so that between them others can have their turn. done: tokens read so far."""

    def __init__(self, model: Model, prompt: Sequence[int], room: int) -> None:
        self._model, self._prompt = model, prompt
        self.cache: KVCache = model.new_cache(len(prompt) + room)
        self.done = 0

    @torch.inference_mode()
    def read(self, count: int) -> Tensor | None:
        """Read `count` more tokens; the logits [1, V] of the next one once the prompt is at its end."""
        part = self._prompt[self.done : self.done + count]
        hidden = self._model.hidden(torch.tensor([part], device=self._model.device), cache=self.cache)
        self.done += len(part)
        return self._model.logits(hidden[:, -1]) if self.done == len(self._prompt) else None


def grouped(prompts: Sequence[Sequence[int]]) -> Iterator[Sequence[Sequence[int]]]:
    """Neighbours that are worth one forward pass."""
    first = 0
    for end in range(1, len(prompts) + 1):
        if end == len(prompts) or not _worthwhile([len(p) for p in prompts[first : end + 1]]):
            yield prompts[first:end]
            first = end


def _worthwhile(lengths: Sequence[int]) -> bool:
    longest, shortest = max(lengths), min(lengths)
    return longest - shortest <= max(PADDING, shortest // 4) and longest * len(lengths) <= PREFILL_TOKENS
