"""Pairs of texts as padded rows: what belongs together, for contrastive training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
import numpy.typing as npt

from bedplate.config import fold_in
from bedplate.data.packing import Rows, check_rows, shuffled
from bedplate.errors import InputError

Encode = Callable[[Sequence[str]], Sequence[Sequence[int]]]
"""Texts -> token ids of each, special tokens included (`EncoderModel.encode_batch`)."""


@dataclass(frozen=True)
class TextPairs:
    """first[i] and second[i] belong together: token ids. pad: the token that fills up. As a row source it is one pass,
    in order."""

    first: Sequence[Sequence[int]]
    second: Sequence[Sequence[int]]
    pad: int

    def __post_init__(self) -> None:
        if len(self.first) != len(self.second) or not self.first:
            raise InputError(
                f"{len(self.first)} texts and {len(self.second)} that belong to them", "Give as many of both, and some."
            )
        for name, texts in (("text", self.first), ("text of the second kind", self.second)):
            empty = next((i for i, ids in enumerate(texts) if not len(ids)), None)
            if empty is not None:
                raise InputError(f"{name} {empty} has no tokens", "Leave empty texts out.")

    @classmethod
    def encode(cls, first: Sequence[str], second: Sequence[str], encode: Encode, pad: int) -> Self:
        """Pairs of texts, made into tokens."""
        return cls(encode(first), encode(second), pad)

    @property
    def count(self) -> int:
        """Pairs."""
        return len(self.first)

    def padded(self, chosen: npt.NDArray[np.int64]) -> Rows:
        """tokens [B, T], pair_tokens [B, U] int64 and valid, pair_valid bool, each padded to the longest chosen."""
        tokens, valid = self._padded(self.first, chosen)
        pair_tokens, pair_valid = self._padded(self.second, chosen)
        return {"tokens": tokens, "valid": valid, "pair_tokens": pair_tokens, "pair_valid": pair_valid}

    def rows(self, first: int, count: int) -> Rows:
        """Pairs [first, first + count), fewer at the end."""
        check_rows(first, count)
        if first >= self.count:
            raise InputError(f"pair {first} of {self.count}", "Ask for pairs below `count`.")
        return self.padded(np.arange(first, min(first + count, self.count), dtype=np.int64))

    def _padded(self, texts: Sequence[Sequence[int]], chosen: npt.NDArray[np.int64]) -> tuple[np.ndarray, np.ndarray]:
        picked = [np.asarray(texts[i], dtype=np.int64) for i in chosen]
        lengths = np.array([len(ids) for ids in picked], dtype=np.int64)
        valid = np.arange(lengths.max()) < lengths[:, None]
        tokens = np.full(valid.shape, self.pad, dtype=np.int64)
        tokens[valid] = np.concatenate(picked)
        return tokens, valid


class PairRows:
    """The endless stream of training pairs, epoch after epoch, each in an order of its own; row r is a pure function of
    (pairs, seed, r). A batch across two epochs may hold a pair twice, which is then a negative of itself."""

    def __init__(self, pairs: TextPairs, seed: int) -> None:
        self.pairs, self.seed = pairs, seed
        self._epoch = lru_cache(maxsize=2)(self._make_epoch)

    def rows(self, first: int, count: int) -> Rows:
        """Rows [first, first + count), as `TextPairs.padded`."""
        check_rows(first, count)
        size = self.pairs.count
        chosen = [self._epoch(row // size)[row % size] for row in range(first, first + count)]
        return self.pairs.padded(np.array(chosen, dtype=np.int64))

    def _make_epoch(self, epoch: int) -> npt.NDArray[np.int64]:
        return shuffled(self.pairs.count, fold_in(self.seed, "pairs", epoch))
