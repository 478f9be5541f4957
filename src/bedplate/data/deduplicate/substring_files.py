"""Records in files, in partitions: written by one task a shard, read by one task a partition, in the shards' order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from bedplate.data.engine.tasks import task_folder

Records = npt.NDArray[np.uint64]

HELD = 1 << 20
"""Numbers that a writer holds in memory: 8 MB."""
PARTITION = 2 << 20
"""Numbers that a partition is meant to have: 16 MB."""

_DATA, _SEGMENTS = "{}.bin", "{}.npy"


def partitions(numbers: int) -> int:
    """How many partitions so many numbers make."""
    return max(1, -(-numbers // PARTITION))


class PartitionWriter:
    """Writes rows [N, columns] uint64, each to its partition, in the order in which they are given.

    One file, a series of segments, each of them ordered by partition; and where each partition begins in each.
    """

    def __init__(self, folder: Path, name: str, columns: int, count: int) -> None:
        self._folder, self._name, self._columns, self._count = folder, name, columns, count
        self._stream = (folder / _DATA.format(name)).open("wb")
        self._held: list[tuple[npt.NDArray[np.int64], Records]] = []
        self._size = self.rows = 0
        self._segments: list[npt.NDArray[np.int64]] = []

    def add(self, partition: npt.NDArray[np.int64], rows: Records) -> None:
        """partition [N], of each of the rows [N, columns]."""
        if not len(rows):
            return
        self._held.append((partition, rows))
        self._size += rows.size
        self.rows += len(rows)
        if self._size >= HELD:
            self._flush()

    def __enter__(self) -> PartitionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
            ends = np.array(self._segments, dtype=np.int64).reshape(len(self._segments), self._count + 1)
            np.save(self._folder / _SEGMENTS.format(self._name), ends, allow_pickle=False)
        self._stream.close()

    def _flush(self) -> None:
        if not self._held:
            return
        partition = np.concatenate([partition for partition, _ in self._held])
        rows = np.concatenate([rows for _, rows in self._held])
        order = np.argsort(partition, kind="stable")
        rows[order].tofile(self._stream)
        first = self.rows - len(rows)
        self._segments.append(first + np.searchsorted(partition[order], np.arange(self._count + 1)))
        self._held, self._size = [], 0


class PartitionFiles:
    """What the tasks of a step wrote by `PartitionWriter` under one name."""

    def __init__(self, folder: Path, name: str, columns: int, tasks: int) -> None:
        self._folder, self._name, self._columns, self._tasks = folder, name, columns, tasks

    def read(self, partition: int) -> Iterator[tuple[int, Records]]:
        """(task, rows [N, columns]) of a partition, in the order in which they were written: N is at most what a
        writer holds."""
        for task in range(self._tasks):
            for rows in self.of(task, partition):
                yield task, rows

    def of(self, task: int, partition: int) -> list[Records]:
        """What one task wrote into one partition: pieces of its file, mapped."""
        folder = task_folder(self._folder, task)
        segments = np.load(folder / _SEGMENTS.format(self._name), allow_pickle=False)
        path = folder / _DATA.format(self._name)
        spans = [(int(segment[partition]), int(segment[partition + 1])) for segment in segments]
        wide = 8 * self._columns
        return [
            np.memmap(path, dtype=np.uint64, mode="r", offset=first * wide, shape=(end - first, self._columns))
            for first, end in spans
            if end > first
        ]


def within(pieces: Sequence[Records], first: int, end: int) -> Records:
    """The numbers from `first` up to `end` out of pieces of one column that are sorted, sorted: uint64 [N]."""
    found = []
    for piece in pieces:
        column = piece[:, 0]
        found.append(column[slice(*np.searchsorted(column, np.array([first, end], dtype=np.uint64)))])
    return np.sort(np.concatenate(found)) if found else np.empty(0, dtype=np.uint64)
