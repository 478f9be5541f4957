"""What joint steps wrote of a shard's rows, read alongside the shard itself: a piece at a time, in the rows' order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS, _TEXTS = 4096, 256


class Said:
    """One file of a joint step, whose rows rise, to be asked for from the first row to the last.

    Memory: a few thousand rows, or a few hundred texts.
    """

    def __init__(self, path: Path, columns: Sequence[str] | None = None) -> None:
        import pyarrow.parquet as pq

        names = pq.read_schema(path).names if columns is None else ["row", *columns]
        self._batches = _batches(path, names)
        self._held = next(self._batches, None)

    def between(self, first: int, end: int) -> list[pa.RecordBatch]:
        """The file's rows from `first` on and before `end`. No call may ask for a row before the last one's `end`."""
        found = []
        while self._held is not None:
            rows = self._held.column("row").to_numpy()
            start, stop = np.searchsorted(rows, [first, end]).tolist()
            if start < stop:
                found.append(self._held.slice(start, stop - start))
            if stop < len(rows):
                self._held = self._held.slice(stop)
                break
            self._held = next(self._batches, None)
        return found


class SaidOf:
    """What several steps said of rows in one column; the last that did has the word."""

    def __init__(self, paths: Sequence[Path], column: str) -> None:
        self._said = [Said(path, [column]) for path in paths]

    def between(self, first: int, end: int) -> dict[int, object]:
        """{row: value} of the rows from `first` on and before `end`. Of rows of which nothing was said, nothing."""
        found: dict[int, object] = {}
        for said in self._said:
            for batch in said.between(first, end):
                found.update(zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True))
        return found


class ChangedTexts:
    """Texts that joint steps changed; the last that did has the word."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._said = [Said(path, ["text"]) for path in paths]

    def apply(self, numbers: npt.NDArray[np.int64], batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch with the changed texts of its rows, which follow one another, and their sizes; `text` and `bytes` as
        far as it has them."""
        first, end = int(numbers[0]), int(numbers[-1]) + 1
        for said in self._said:
            for changed in said.between(first, end):
                batch = _replaced(batch, changed, changed.column("row").to_numpy() - first)
        return batch


def _replaced(batch: pa.RecordBatch, changed: pa.RecordBatch, at: npt.NDArray[np.int64]) -> pa.RecordBatch:
    import pyarrow as pa
    import pyarrow.compute as pc

    mask = np.zeros(len(batch), dtype=bool)
    mask[at] = True
    texts = changed.column("text")
    for name, values in (("text", texts), ("bytes", pc.binary_length(texts))):
        if (place := batch.schema.get_field_index(name)) >= 0:
            column = batch.column(name)
            made = pc.replace_with_mask(column, pa.array(mask), values.cast(column.type))
            batch = batch.set_column(place, name, made)
    return batch


def _batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    size = _TEXTS if "text" in columns else _ROWS
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):  # one by one: a batch of texts is never larger than its group
            for batch in file.iter_batches(size, row_groups=[group], columns=list(columns)):
                if len(batch):
                    yield batch.select(list(columns))
