"""Prefix rows: the first part of each document is read both ways, and the rest is told from it (prefix language
modelling, Raffel et al., arXiv 1910.10683, section 3.2.3)."""

from __future__ import annotations

import numpy as np

from bedplate.data.draws import uniform
from bedplate.data.packing import Rows
from bedplate.data.row_sources import RowSource


class PrefixRows:
    """Rows of `source`, next-token rows as `data.packing` makes them, each segment's inputs split in two at random: the
    first 1 to n of its n are its prefix.

    `prefix` [B, T] bool is true there (`nn.Mask(prefix=...)`); `keep` stays only where the target comes after the
    prefix, which for the prefix's last place it does. Row r is a pure function of (source rows, seed, r).
    """

    def __init__(self, source: RowSource, seed: int) -> None:
        self.source, self.seed = source, seed

    def rows(self, first: int, count: int) -> Rows:
        """The source's rows [first, first + count), with prefix and keep as above."""
        rows = self.source.rows(first, count)
        segments = rows["segments"]
        found, length = segments.shape
        column = np.arange(length)
        begins = np.ones(segments.shape, dtype=bool)
        begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
        start = np.maximum.accumulate(np.where(begins, column, 0), axis=1)
        ends = np.ones(segments.shape, dtype=bool)
        ends[:, :-1] = begins[:, 1:]
        last = np.minimum.accumulate(np.where(ends, column, length)[:, ::-1], axis=1)[:, ::-1]
        drawn = np.take_along_axis(uniform(self.seed, "prefix", first, found, length), start, axis=1)
        size = 1 + (drawn * (last - start + 1)).astype(np.int64)
        place = column - start
        return rows | {"prefix": place < size, "keep": rows["keep"] & (place >= size - 1)}
