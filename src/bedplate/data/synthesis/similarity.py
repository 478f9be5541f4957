"""How near texts are: ROUGE-L against many at once, and how much of a text was copied from another."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_WORD = re.compile(r"\w+")
_LONGEST = 512
"""Words of a text that count for ROUGE-L."""
_COPIED_WORDS = 5


def words(text: str) -> list[str]:
    """The words of a text in lower case, of any script."""
    return _WORD.findall(text.lower())


def rouge_l(one: Sequence[str], other: Sequence[str]) -> float:
    """F1 of the longest common subsequence of words (Lin 2004, W04-1013), in [0, 1]; 0 where one is empty."""
    pool = TextPool()
    pool.add(one)
    return float(pool.rouge_l(other)[0])


def copied_share(text: Sequence[str], source: Sequence[str]) -> float:
    """Share of the text's runs of five words that the source has too; a shorter text counts as one run."""
    size = min(_COPIED_WORDS, len(text))
    if not size:
        return 0.0
    there = {tuple(source[i : i + size]) for i in range(len(source) - size + 1)}
    runs = [tuple(text[i : i + size]) for i in range(len(text) - size + 1)]
    return sum(run in there for run in runs) / len(runs)


class TextPool:
    """Texts, as words, that a new one is compared with: all at once, bit by bit."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._rows = np.full((64, 32), -1, dtype=np.int32)
        self._lengths = np.zeros(64, dtype=np.int64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, text: Sequence[str]) -> None:
        """One more."""
        numbers = [self._numbers.setdefault(word, len(self._numbers)) for word in text[:_LONGEST]]
        height, width = self._rows.shape
        if self._count == height or len(numbers) > width:
            grown = np.full((height * (1 + (self._count == height)), max(width, len(numbers))), -1, dtype=np.int32)
            grown[:height, :width] = self._rows
            self._rows = grown
            self._lengths = np.concatenate([self._lengths, np.zeros(len(grown) - height, dtype=np.int64)])
        self._rows[self._count, : len(numbers)] = numbers
        self._lengths[self._count] = len(numbers)
        self._count += 1

    def rouge_l(self, text: Sequence[str]) -> npt.NDArray[np.float64]:
        """ROUGE-L of the text with each one here, [N]."""
        return self._rouge(text, np.arange(self._count))

    def holds_similar(self, text: Sequence[str], threshold: float) -> bool:
        """Whether ROUGE-L with any of them reaches the threshold."""
        size, lengths = min(len(text), _LONGEST), self._lengths[: self._count]
        # F1 is at most 2 min / (m + n), so texts of very different lengths needn't be looked at.
        possible = 2.0 * np.minimum(size, lengths) >= threshold * (size + lengths) - 1e-9
        return bool((self._rouge(text, np.flatnonzero(possible)) >= threshold - 1e-12).any())

    def _rouge(self, text: Sequence[str], chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        text = text[:_LONGEST]
        lengths = self._lengths[chosen]
        if not len(chosen) or not text:
            return np.zeros(len(chosen))
        common = self._common(text, self._rows[chosen][:, : max(int(lengths.max()), 1)])
        return 2.0 * common / (len(text) + lengths)

    def _common(self, text: Sequence[str], rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """Lengths of the longest common subsequences, [N], by bit-parallel dynamic programming (Hyyrö 2004): a bit of
        `state` for each word of the text, in 64-bit numbers, or in Python's own where the text is longer."""
        size = len(text)
        ones = (1 << size) - 1
        # The last place is for the filling, which is -1 and matches nothing.
        masks: npt.NDArray[np.uint64] | npt.NDArray[np.object_]
        masks = np.zeros(len(self._numbers) + 1, dtype=np.uint64 if size <= 64 else object)
        for place, word in enumerate(text):
            number = self._numbers.get(word)
            if number is not None:
                masks[number] |= masks.dtype.type(1 << place) if size <= 64 else 1 << place
        full = np.uint64(ones) if size <= 64 else ones
        state = np.full(len(rows), full, dtype=masks.dtype)
        for column in rows.T:
            matched = state & masks[column]
            state = ((state + matched) | (state - matched)) & full
        if size <= 64:
            return size - np.bitwise_count(state).astype(np.int64)
        return size - np.array([int(one).bit_count() for one in state.tolist()], dtype=np.int64)
