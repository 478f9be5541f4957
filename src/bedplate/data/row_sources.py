"""Where rows come from: an endless stream, one pass, and a stretch of either."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bedplate.data.packing import Rows


class RowSource(Protocol):
    """An endless stream of rows, row r a pure function of r."""

    def rows(self, first: int, count: int) -> Rows: ...


class FiniteRows(Protocol):
    """One pass. count: its rows."""

    @property
    def count(self) -> int: ...

    def rows(self, first: int, count: int) -> Rows:
        """Rows [first, first + count), fewer at the end of the pass."""
        ...


class ScoredRows(FiniteRows, Protocol):
    """One pass over whole documents. documents; pairs: kept places; bytes: UTF-8, of what is scored."""

    documents: int
    pairs: int
    bytes: int


@dataclass(frozen=True)
class FirstRows:
    """The first `count` rows of a source as one pass: what a transform of one pass, or a stream, is scored on."""

    source: RowSource
    count: int

    def rows(self, first: int, count: int) -> Rows:
        """Rows [first, first + count), fewer at the end of the pass."""
        return self.source.rows(first, min(count, self.count - first))
