"""`Shards`: the documents of a run on disk, and what the stages that look at all of them together decided of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

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
    """What a joint step said. folder: that of a step whose task n is of shard n; see `Shards`."""

    folder: Path
    measures: dict[str, Any]


@dataclass(frozen=True)
class Shards:
    """Small and picklable: tasks are given it as it is.

    A joint step's task n may leave, in its folder, any of these: `verdicts.parquet` (row int32, reason, detail, other)
    drops rows; `columns.parquet` (row int32, further columns) says more of some; `texts.parquet` (row int32, text)
    has the texts that it changed.
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
        for folder in self.decided:
            if (path := task_folder(folder, shard) / VERDICTS).is_file():
                alive[pq.read_table(path, columns=["row"]).column("row").to_numpy()] = False
        return alive

    def read(self, shard: int, columns: Sequence[str], *, alive: bool = True) -> Iterator[tuple[Rows, pa.RecordBatch]]:
        """The rows of a shard by number, with some of their columns, a row group at a time.

        alive: leave out what was left out. Texts are as joint steps so far have changed them; their bytes, sha256
        and id are those from before.
        """
        import pyarrow.parquet as pq

        keep = self.alive(shard) if alive else None
        changed = self._texts(shard) if "text" in columns else None
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

    def said(self, shard: int, column: str) -> dict[int, Any]:
        """What joint steps so far said of rows in a column of theirs, {row: value}."""
        import pyarrow.parquet as pq

        found: dict[int, Any] = {}
        for folder in self.decided:
            path = task_folder(folder, shard) / COLUMNS
            if path.is_file() and column in pq.read_schema(path).names:
                table = pq.read_table(path, columns=["row", column])
                found.update(zip(table.column(0).to_pylist(), table.column(1).to_pylist(), strict=True))
        return found

    def after(self, folder: Path) -> Shards:
        """With one more joint step decided."""
        return replace(self, decided=(*self.decided, folder))

    def _texts(self, shard: int) -> _Texts | None:
        paths = [path for folder in self.decided if (path := task_folder(folder, shard) / TEXTS).is_file()]
        return _Texts(paths) if paths else None


class _Texts:
    """Texts that joint steps changed; the last that did has the word. Read a row group at a time, in step with the
    rows that are asked for, which only go up."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._streams = [_TextStream(path) for path in paths]

    def apply(self, numbers: Rows, batch: pa.RecordBatch) -> pa.RecordBatch:
        import pyarrow as pa

        texts: list[str] | None = None
        for stream in self._streams:
            for row, text in stream.between(int(numbers[0]), int(numbers[-1]) + 1):
                if texts is None:
                    texts = batch.column("text").to_pylist()
                texts[row - int(numbers[0])] = text
        if texts is None:
            return batch
        return batch.set_column(batch.schema.get_field_index("text"), "text", pa.array(texts, pa.string()))


class _TextStream:
    def __init__(self, path: Path) -> None:
        self._rows = self._all(path)
        self._next = next(self._rows, None)

    @staticmethod
    def _all(path: Path) -> Iterator[tuple[int, str]]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256, columns=["row", "text"]):
                yield from zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True)

    def between(self, first: int, end: int) -> Iterator[tuple[int, str]]:
        while self._next is not None and self._next[0] < end:
            if self._next[0] >= first:
                yield self._next
            self._next = next(self._rows, None)


def _mask(rows: npt.NDArray[np.bool_]) -> pa.Array:
    import pyarrow as pa

    return pa.array(rows)
