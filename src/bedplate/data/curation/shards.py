"""`Shards`: the documents of a run on disk, and what the stages that look at all of them together decided of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bedplate.data.curation.said import ChangedTexts, SaidOf
from bedplate.data.engine.tasks import task_folder

if TYPE_CHECKING:
    import pyarrow as pa

DOCUMENTS = "documents.parquet"
VERDICTS = "verdicts.parquet"
COLUMNS = "columns.parquet"
TEXTS = "texts.parquet"

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Decision:
    """What a joint step said. folder: that of a step whose task n is of shard n; see `Shards`. columns: those that it
    adds, {name: pyarrow's name of the type}, whether or not it said anything in them of any row."""

    folder: Path
    measures: dict[str, Any]
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Shards:
    """Small and picklable: tasks are given it as it is.

    A joint step's task n may leave, in its folder, any of these: `verdicts.parquet` (row int32, reason, detail, other)
    drops rows; `columns.parquet` (row int32, further columns) says more of some, where null is what it says of all
    others; `texts.parquet` (row int32, text) has the texts that it changed. Rows rise in each of them.
    """

    folder: Path
    count: int
    decided: tuple[Path, ...] = ()
    """The joint steps so far, in order."""

    def path(self, shard: int) -> Path:
        """The documents of a shard as they came out of the map."""
        return task_folder(self.folder, shard) / DOCUMENTS

    def rows(self, shard: int) -> int:
        """Documents of a shard, those that were left out included."""
        import pyarrow.parquet as pq

        count: int = pq.read_metadata(self.path(shard)).num_rows
        return count

    def alive(self, shard: int) -> npt.NDArray[np.bool_]:
        """Which documents of a shard nothing has left out yet, [rows]."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        status = pq.read_table(self.path(shard), columns=["status"]).column("status")
        alive: npt.NDArray[np.bool_] = pc.equal(status, "kept").to_numpy().copy()
        for path in self._files(shard, VERDICTS):
            alive[pq.read_table(path, columns=["row"]).column("row").to_numpy()] = False
        return alive

    def read(self, shard: int, columns: Sequence[str], *, alive: bool = True) -> Iterator[tuple[Rows, pa.RecordBatch]]:
        """The rows of a shard by number, with some of their columns, a row group at a time.

        alive: leave out what was left out. `text` and `bytes` are as joint steps so far have changed them; `sha256` and
        `id` are those from before all of these, and what a split is decided by.
        """
        import pyarrow.parquet as pq

        keep = self.alive(shard) if alive else None
        texts = self._files(shard, TEXTS) if {"text", "bytes"} & set(columns) else []
        changed = ChangedTexts(texts) if texts else None
        first = 0
        with pq.ParquetFile(self.path(shard)) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=list(columns)).combine_chunks()
                numbers = np.arange(first, first + len(table), dtype=np.int64)
                first += len(table)
                for batch in table.to_batches():
                    if changed is not None:
                        batch = changed.apply(numbers, batch)
                    if keep is not None and not (here := keep[numbers]).all():
                        numbers, batch = numbers[here], batch.filter(_mask(here))
                    if len(numbers):
                        yield numbers, batch

    def said(self, shard: int, column: str) -> SaidOf:
        """What joint steps so far said of rows in a column of theirs, to be asked for in the rows' order."""
        import pyarrow.parquet as pq

        return SaidOf([path for path in self._files(shard, COLUMNS) if column in pq.read_schema(path).names], column)

    def after(self, folder: Path) -> Shards:
        """With one more joint step decided."""
        return replace(self, decided=(*self.decided, folder))

    def _files(self, shard: int, name: str) -> list[Path]:
        """The files of a name that the steps so far left of a shard, in their order."""
        return [path for folder in self.decided if (path := task_folder(folder, shard) / name).is_file()]


def _mask(rows: npt.NDArray[np.bool_]) -> pa.Array:
    import pyarrow as pa

    return pa.array(rows)
