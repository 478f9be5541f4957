"""Labelled texts as padded rows: an endless shuffled stream for training, one pass in order of length for scoring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from bedplate.config import fold_in
from bedplate.data.packing import Rows

POOL = 16
"""Batches whose rows are sorted by length among each other."""

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LabelledTexts:
    """tokens: of each text; labels [N]: the number of its class; pad: the token that fills up."""

    tokens: Sequence[Sequence[int]]
    labels: Ids
    pad: int

    @cached_property
    def lengths(self) -> Ids:
        """Tokens of each text."""
        return np.array([len(row) for row in self.tokens], dtype=np.int64)

    def padded(self, chosen: Ids) -> Rows:
        """tokens [B, T] int64, valid [B, T] bool, labels [B]: T is the longest of those chosen."""
        lengths = self.lengths[chosen]
        valid = np.arange(lengths.max()) < lengths[:, None]
        tokens = np.full(valid.shape, self.pad, dtype=np.int64)
        tokens[valid] = np.concatenate([np.asarray(self.tokens[i], dtype=np.int64) for i in chosen])
        return {"tokens": tokens, "valid": valid, "labels": self.labels[chosen]}


class ClassRows:
    """The endless stream of training rows, epoch after epoch, each in an order of its own. Within every `POOL` batches
    rows of like length stand together, and those batches come in random order, so that little is padded.

    Row r, and so each batch, is a pure function of (texts, batch, seed, r).
    """

    def __init__(self, texts: LabelledTexts, batch: int, seed: int) -> None:
        self.texts, self.batch, self.seed = texts, batch, seed
        self._lengths = texts.lengths
        self._epoch = lru_cache(maxsize=2)(self._make_epoch)
        self._pool = lru_cache(maxsize=2)(self._make_pool)

    def rows(self, first: int, count: int) -> Rows:
        """Rows [first, first + count), padded to the longest text of the batch that they begin in."""
        return self.texts.padded(self.order(first, count))

    def order(self, first: int, count: int) -> Ids:
        """Which texts the rows [first, first + count) are."""
        size = self.batch * POOL
        return np.array([self._pool(row // size)[row % size] for row in range(first, first + count)], dtype=np.int64)

    def longest(self, step: int) -> int:
        """The padded length of a step's rows."""
        return int(self._lengths[self.order(step * self.batch, self.batch)].max())

    def _make_pool(self, number: int) -> Ids:
        size = self.batch * POOL
        count = len(self._lengths)
        rows = range(number * size, (number + 1) * size)
        members = np.array([self._epoch(row // count)[row % count] for row in rows], dtype=np.int64)
        batches = members[np.argsort(self._lengths[members], kind="stable")].reshape(POOL, self.batch)
        return batches[_shuffled(POOL, fold_in(self.seed, "batches", number))].reshape(-1)

    def _make_epoch(self, epoch: int) -> Ids:
        return _shuffled(len(self._lengths), fold_in(self.seed, "epoch", epoch))


def scoring_batches(lengths: Ids, places: int) -> Iterator[Ids]:
    """The numbers of all texts, those of like length together: a batch's count times its longest is at most `places`
    (or it is one text). The longest come first."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        count = max(1, places // max(1, int(lengths[order[start]])))
        yield order[start : start + count]
        start += count


def _shuffled(count: int, seed: int) -> Ids:
    # Raw words sorted: numpy keeps its bit generators' streams for ever, and the algorithm of `permutation` not.
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable").astype(np.int64)
