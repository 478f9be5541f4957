"""The Parquet tables of a corpus, read some rows at a time: what was kept, and what was left out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from bedplate.errors import ArtefactError
from bedplate.ledger import Artefact

Side = Literal["kept", "left out"]
SIDES: tuple[Side, ...] = ("kept", "left out")

BATCH_ROWS = 16_384

_TELLING: dict[Side, set[str]] = {"kept": {"text", "bytes"}, "left out": {"status", "reason"}}
"""The columns that tell a table of documents from one of what became of the others: the first that fits."""


@dataclass(frozen=True)
class Table:
    """One file. groups: rows of each row group; kinds: the types of its columns."""

    path: Path
    side: Side
    groups: tuple[int, ...]
    kinds: Mapping[str, pa.DataType]

    @property
    def rows(self) -> int:
        return sum(self.groups)


@dataclass(frozen=True)
class Row:
    """A place in a table."""

    table: int
    row: int


class Tables:
    """All tables of a corpus that hold documents. Raises ArtefactError, naming the file, for a broken one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.all: list[Table] = []
        for path in paths:
            with _reading(path) as file:
                kinds = {field.name: field.type for field in file.schema_arrow}
                side = next((side for side in SIDES if _TELLING[side] <= set(kinds)), None)
                metadata = file.metadata
                groups = tuple(metadata.row_group(n).num_rows for n in range(metadata.num_row_groups))
            if side is not None:
                self.all.append(Table(path, side, groups, kinds))

    @classmethod
    def of(cls, artefact: Artefact) -> Tables:
        outputs = [output.path for output in artefact.manifest.outputs if output.path.endswith(".parquet")]
        return cls([artefact.file(path) for path in outputs])

    def columns(self, side: Side | None = None) -> dict[str, pa.DataType]:
        """The columns of any table (of one side), in the tables' order."""
        found: dict[str, pa.DataType] = {}
        for table in self.all:
            if side in (None, table.side):
                found = {**table.kinds, **found}
        return found

    def rows(self, side: Side) -> int:
        return sum(table.rows for table in self.all if table.side == side)

    def batches(self, columns: Collection[str], side: Side | None = None) -> Iterator[tuple[int, int, pa.RecordBatch]]:
        """(number of the table, number of the first row, rows), with those of the columns that the table has."""
        for number, table in enumerate(self.all):
            wanted = [name for name in table.kinds if name in columns]
            if side not in (None, table.side) or not wanted:
                continue
            first = 0
            with _reading(table.path) as file:
                for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=wanted):
                    yield number, first, batch
                    first += batch.num_rows

    def some(self, columns: Collection[str], most_groups: int) -> Iterator[pa.RecordBatch]:
        """Up to `most_groups` row groups of each side, spread evenly over its tables."""
        for side in SIDES:
            places = [
                (number, group)
                for number, table in enumerate(self.all)
                if table.side == side
                for group in range(len(table.groups))
            ]
            count = min(most_groups, len(places))
            for place in range(count):
                number, group = places[place * len(places) // count]
                yield from self._group(number, group, columns).to_batches()

    def fetch(self, rows: Collection[Row], columns: Collection[str], most_groups: int) -> dict[Row, dict[str, Any]]:
        """The rows' values; of those in row groups beyond the first `most_groups` needed, nothing."""
        wanted: dict[tuple[int, int], list[tuple[int, Row]]] = {}
        for row in sorted(set(rows), key=lambda row: (row.table, row.row)):
            first = 0
            for group, size in enumerate(self.all[row.table].groups):
                if row.row < first + size:
                    wanted.setdefault((row.table, group), []).append((row.row - first, row))
                    break
                first += size
        found: dict[Row, dict[str, Any]] = {}
        for (number, group), places in list(wanted.items())[:most_groups]:
            values = self._group(number, group, columns).take(pa.array([place for place, _ in places]))
            found.update(zip((row for _, row in places), values.to_pylist(), strict=True))
        return found

    def _group(self, number: int, group: int, columns: Collection[str]) -> pa.Table:
        table = self.all[number]
        with _reading(table.path) as file:
            return file.read_row_group(group, columns=[name for name in table.kinds if name in columns])


@contextmanager
def _reading(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        raise ArtefactError(f"{path}: can't be read as Parquet: {error}", "Make the corpus again.") from error
