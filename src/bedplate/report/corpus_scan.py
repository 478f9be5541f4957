"""Everything that is counted of a corpus for its page, in one pass over its tables and within bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bedplate.report.corpus_bins import Bins, fit_bins
from bedplate.report.corpus_notes import Bound, ColumnNote, Notes
from bedplate.report.corpus_tables import SIDES, Row, Side, Tables

MOST_VALUES = 100_000
"""Different values that are counted of a group of columns; of more, the rarest are forgotten now and then."""
DRAWN = 3
"""Documents drawn of each reason, and of those that a bound only just lets through."""
_SAMPLED_GROUPS = 32

Key = tuple[str | None, ...]


@dataclass
class Count:
    documents: int = 0
    bytes: int = 0

    def add(self, other: Count) -> None:
        self.documents += other.documents
        self.bytes += other.bytes


@dataclass
class Groups:
    """Documents by the values of some columns. trimmed: rare values were forgotten, so that counts are at least."""

    columns: tuple[str, ...]
    counts: dict[Side, dict[Key, Count]] = field(default_factory=lambda: {side: {} for side in SIDES})
    trimmed: bool = False

    def add(self, side: Side, batch: pa.RecordBatch, sizes: NDArray[np.int64]) -> None:
        """Nothing where the rows don't have the first of the columns."""
        if self.columns[0] not in batch.schema.names:
            return
        keys, codes = _codes(batch, self.columns)
        documents = np.bincount(codes, minlength=len(keys))
        # Sums of doubles are whole up to 2^53, and no batch has so many bytes.
        size = np.bincount(codes, weights=sizes, minlength=len(keys))
        counts = self.counts[side]
        for key, n, b in zip(keys, documents.tolist(), size.tolist(), strict=True):
            counts.setdefault(key, Count()).add(Count(n, int(b)))
        if len(counts) > 2 * MOST_VALUES:
            most = sorted(counts.items(), key=lambda item: (-item[1].documents, _ordered(item[0])))[:MOST_VALUES]
            self.counts[side], self.trimmed = dict(most), True

    def by(self, column: str, side: Side) -> dict[str | None, Count]:
        """Added up by one of the columns."""
        place = self.columns.index(column)
        found: dict[str | None, Count] = {}
        for key, count in self.counts[side].items():
            found.setdefault(key[place], Count()).add(count)
        return found


@dataclass
class Figures:
    """A column of numbers of one side. counts: by bins; some: documents with more than 0."""

    counts: NDArray[np.int64]
    documents: int = 0
    missing: int = 0
    some: int = 0
    sum: float = 0.0
    least: float = np.inf
    greatest: float = -np.inf

    def add(self, values: NDArray[np.float64], bins: Bins | None) -> None:
        there = values[~np.isnan(values)]
        self.documents += len(there)
        self.missing += len(values) - len(there)
        if len(there):
            self.some += int(np.count_nonzero(there > 0))
            self.sum += float(there.sum())
            self.least, self.greatest = min(self.least, float(there.min())), max(self.greatest, float(there.max()))
            if bins is not None:
                self.counts += bins.counts(there)

    @property
    def mean(self) -> float | None:
        return self.sum / self.documents if self.documents else None


@dataclass
class Column:
    """A column of numbers: its histogram's bins, if its values differ, and its figures by side."""

    name: str
    note: ColumnNote
    bins: Bins | None
    sides: dict[Side, Figures]

    @property
    def same(self) -> bool:
        """Whether all documents have one value, or none has any."""
        return min(f.least for f in self.sides.values()) >= max(f.greatest for f in self.sides.values())


@dataclass
class Nearest:
    """The kept documents that a bound only just let through: (distance, place in the pass, value, row)."""

    column: str
    bound: Bound
    found: list[tuple[float, int, float, Row]] = field(default_factory=list)

    def add(self, table: int, first: int, place: int, values: NDArray[np.float64]) -> None:
        distances = np.full(len(values), np.inf)
        for edge, sign in ((self.bound.min, 1.0), (self.bound.max, -1.0)):
            if edge is not None:
                # As float32, as the values are and as they were compared: 0.3 isn't over 0.3.
                distance = (values - float(np.float32(edge))) * sign
                distances = np.minimum(distances, np.where(distance >= 0, distance, np.inf))
        worst = self.found[-1][0] if len(self.found) == DRAWN else np.inf
        # A distance of infinity is a value that isn't there, or one beyond the bound.
        closer = np.flatnonzero(distances < worst)
        for row in closer[np.argsort(distances[closer], kind="stable")[:DRAWN]].tolist():
            self.found.append((float(distances[row]), place + row, float(values[row]), Row(table, first + row)))
        self.found = sorted(self.found, key=lambda one: one[:2])[:DRAWN]


@dataclass
class Scan:
    """What one pass found. drawn: some rows of those that were left out, by stage, status and reason."""

    groups: dict[tuple[str, ...], Groups]
    numbers: dict[str, Column]
    drawn: dict[Key, list[Row]]
    nearest: list[Nearest]
    total: dict[Side, Count]
    sampled: bool
    """Whether the ranges of histograms come from some of the documents alone."""


LEFT_OUT = ("reason", "stage", "status")


def scan(tables: Tables, groups: Sequence[tuple[str, ...]], numbers: Sequence[str], notes: Notes) -> Scan:
    """Counts by each of the groups of columns, and of each column of numbers.

    One pass over these columns; before it, some row groups of the columns of numbers, for the ranges of their bins.
    """
    chosen = {name: Groups(name) for name in dict.fromkeys([*groups, LEFT_OUT])}
    columns = _columns(tables, numbers, notes)
    nearest = [Nearest(name, bound) for name, column in columns.items() for bound in column.note.bounds]
    drawn: dict[Key, list[tuple[int, Row]]] = {}
    total: dict[Side, Count] = {side: Count() for side in SIDES}
    place = 0
    wanted = {"bytes", *numbers, *(column for group in chosen for column in group)}
    for table, first, batch in tables.batches(wanted):
        side = tables.all[table].side
        sizes = _sizes(batch)
        total[side].add(Count(batch.num_rows, int(sizes.sum())))
        for group in chosen.values():
            if group.columns != LEFT_OUT or side == "left out":
                group.add(side, batch, sizes)
        values = {name: _floats(batch, name) for name in columns if name in batch.schema.names}
        for name, found in values.items():
            columns[name].sides[side].add(found, columns[name].bins)
        if side == "left out":
            _draw(drawn, batch, table, first, place)
        else:
            for near in nearest:
                if near.column in values:
                    near.add(table, first, place, values[near.column])
        place += batch.num_rows
    rows = {key: [row for _, row in found] for key, found in drawn.items()}
    sampled = any(len(t.groups) > 1 for t in tables.all) and sum(len(t.groups) for t in tables.all) > _SAMPLED_GROUPS
    return Scan(chosen, columns, rows, nearest, total, sampled)


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type is one of numbers, truth values included."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _columns(tables: Tables, numbers: Sequence[str], notes: Notes) -> dict[str, Column]:
    kinds = tables.columns()
    pieces: dict[str, list[NDArray[np.float64]]] = {name: [] for name in numbers}
    if numbers:
        for batch in tables.some(numbers, _SAMPLED_GROUPS):
            for name in batch.schema.names:
                pieces[name].append(_floats(batch, name))
    columns = {}
    for name in numbers:
        note = notes.get(name, ColumnNote())
        bounds = [edge for bound in note.bounds for edge in (bound.min, bound.max) if edge is not None]
        sample = np.concatenate(pieces.pop(name) or [np.empty(0)])
        bins = fit_bins(sample, bounds, whole=not pa.types.is_floating(kinds[name]))
        size = bins.count if bins else 0
        columns[name] = Column(name, note, bins, {side: Figures(np.zeros(size, np.int64)) for side in SIDES})
    return columns


def _codes(batch: pa.RecordBatch, columns: Sequence[str]) -> tuple[list[Key], NDArray[np.int64]]:
    """The different values of some columns of strings, and for each row which it has; null for a column that isn't
    there."""
    codes = np.zeros(batch.num_rows, np.int64)
    values: list[list[str | None]] = []
    for name in columns:
        if name not in batch.schema.names:
            values.append([None])
            continue
        encoded = batch.column(name).cast(pa.string()).dictionary_encode()
        values.append([*encoded.dictionary.to_pylist(), None])
        indices = encoded.indices.fill_null(len(values[-1]) - 1).to_numpy(zero_copy_only=False)
        codes = codes * len(values[-1]) + indices
    different, rows = np.unique(codes, return_inverse=True)
    keys = []
    for code in different.tolist():
        key: list[str | None] = []
        for one in reversed(values):
            code, place = divmod(code, len(one))
            key.append(one[place])
        keys.append(tuple(reversed(key)))
    return keys, rows


def _draw(drawn: dict[Key, list[tuple[int, Row]]], batch: pa.RecordBatch, table: int, first: int, place: int) -> None:
    """Keep the rows whose place, hashed, comes first: spread over the whole table, and the same every time."""
    keys, codes = _codes(batch, LEFT_OUT)
    order = (np.arange(place, place + batch.num_rows, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(24)
    for number, key in enumerate(keys):
        rows = np.flatnonzero(codes == number)
        rows = rows[np.argsort(order[rows], kind="stable")[:DRAWN]]
        found = [*drawn.get(key, []), *((int(order[row]), Row(table, first + row)) for row in rows.tolist())]
        drawn[key] = sorted(found, key=lambda one: one[0])[:DRAWN]


def _sizes(batch: pa.RecordBatch) -> NDArray[np.int64]:
    if "bytes" not in batch.schema.names:
        return np.zeros(batch.num_rows, np.int64)
    sizes: NDArray[np.int64] = batch.column("bytes").cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return sizes


def _floats(batch: pa.RecordBatch, name: str) -> NDArray[np.float64]:
    """A column as doubles, NaN for null."""
    column = batch.column(name)
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def _ordered(key: Key) -> tuple[str, ...]:
    return tuple("" if value is None else value for value in key)


def columns_of_numbers(tables: Tables, besides: Mapping[str, object]) -> list[str]:
    """The columns of numbers of a corpus, in their order, without those of `besides`."""
    return [name for name, kind in tables.columns().items() if is_number(kind) and name not in besides]
