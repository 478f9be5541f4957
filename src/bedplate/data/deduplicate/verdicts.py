"""From groups of copies to verdicts: which one stays, and what is said of the others."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bedplate.data.curation.shards import COLUMNS, VERDICTS, Shards
from bedplate.data.deduplicate.facts import ID, RANK, ArrayWriter
from bedplate.data.deduplicate.runs import I64, Part, take
from bedplate.data.engine.tasks import task_folder

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

MEMBERS = "members.npy"
MEMBER = np.dtype([("row", "<i8"), ("kept", "<i8"), ("size", "<u4")])
"""A document of a group: its row, the row of the one that stays, and how many the group has."""
Members = npt.NDArray[np.void]
Told = tuple[list[str], list[str | None]]
"""Reasons and details."""

_BLOCK = 1 << 16


@dataclass(frozen=True)
class Rows:
    """Where rows are: those of an earlier corpus first, whose documents always win, then those of the shards."""

    earlier: tuple[Part, ...]
    shards: tuple[Part, ...]

    @property
    def all(self) -> tuple[Part, ...]:
        return self.earlier + self.shards

    @classmethod
    def of(cls, shards: Shards, folder: Path, earlier: tuple[Part, ...] = ()) -> Rows:
        """The rows of shards whose keys a step left in `folder`."""
        start, parts = sum(part.rows for part in earlier), []
        for shard in range(shards.count):
            parts.append(Part(task_folder(folder, shard), start, shards.rows(shard)))
            start += parts[-1].rows
        return cls(earlier, tuple(parts))

    def ranks(self, rows: I64) -> I64:
        """The ranks of sorted rows; those of an earlier corpus come before all others."""
        new = int(np.searchsorted(rows, self.earlier[-1].end)) if self.earlier else 0
        ranks = np.full(len(rows), np.iinfo(np.int64).min, dtype=np.int64)
        if new < len(rows):
            ranks[new:] = take(self.shards, RANK, rows[new:])
        return ranks


def decide(rows: I64, labels: npt.NDArray[np.integer], rank: Callable[[I64], I64], path: Path) -> tuple[int, int]:
    """Write the members of groups by row; gives the number of groups, and the size of the largest.

    rows [N], sorted; labels [N], less than N: equal within a group. rank(rows): of a group the document of least rank
    stays, and of those the first. Memory: 16 bytes a row, besides those given.
    """
    least = np.full(len(rows), np.iinfo(np.int64).max, dtype=np.int64)
    sizes = np.zeros(len(rows), dtype=np.uint32)
    blocks = [slice(first, min(first + _BLOCK, len(rows))) for first in range(0, len(rows), _BLOCK)]
    for here in blocks:
        np.minimum.at(least, labels[here], rank(rows[here]))
        np.add.at(sizes, labels[here], np.uint32(1))
    kept = np.full(len(rows), len(rows), dtype=np.uint32)
    for here in blocks:
        best = rank(rows[here]) == least[labels[here]]
        np.minimum.at(kept, labels[here][best], np.arange(here.start, here.stop, dtype=np.uint32)[best])
    out = ArrayWriter(path, (len(rows),), MEMBER)
    for here in blocks:
        block = np.empty(here.stop - here.start, dtype=MEMBER)
        block["row"], block["kept"], block["size"] = rows[here], rows[kept[labels[here]]], sizes[labels[here]]
        out.put(np.arange(here.start, here.stop), block)
    out.close()
    return int(np.count_nonzero(sizes)), int(sizes.max(initial=0))


def members(files: Sequence[Path], part: Part) -> Iterator[tuple[int, int, Members]]:
    """The members that lie in a part, some rows [first, end) of it at a time, each by row."""
    tables = []
    for path in files:
        table = np.load(path, mmap_mode="r")
        a, b = (bisect_left(table, row, key=lambda member: int(member["row"])) for row in (part.start, part.end))
        if a < b:
            tables.append(table[a:b])
    for first in range(0, part.rows, _BLOCK):
        end = min(first + _BLOCK, part.rows)
        found = [np.empty(0, dtype=MEMBER)]
        for table in tables:
            a, b = np.searchsorted(table["row"], [part.start + first, part.start + end]).tolist()
            found.append(np.array(table[a:b]))
        joined = np.concatenate(found)
        yield first, end, joined[np.argsort(joined["row"], kind="stable")]


def write(
    folder: Path, rows: Rows, part: Part, files: Sequence[Path], copies: str, tell: Callable[[Members], Told]
) -> dict[str, int]:
    """Write `verdicts.parquet` of the members of a shard that don't stay, and in `columns.parquet`, under the name
    `copies`, how many stood behind each that does. Gives how many were dropped for each reason.

    tell(members): the reasons and details of some that don't stay.
    """
    import pyarrow as pa

    number, text = pa.int32(), pa.string()
    verdicts = _Table(folder / VERDICTS, {"row": number, "reason": text, "detail": text, "other": text})
    columns = _Table(folder / COLUMNS, {"row": number, copies: number})
    dropped: Counter[str] = Counter()
    for _, _, found in members(files, part):
        stays = found["row"] == found["kept"]
        best, lost = found[stays], found[~stays]
        columns.add([(best["row"] - part.start).astype(np.int32), (best["size"] - 1).astype(np.int32)])
        if len(lost):
            reasons, details = tell(lost)
            others = [one.tobytes().hex() for one in take(rows.all, ID, np.ascontiguousarray(lost["kept"]))]
            verdicts.add([(lost["row"] - part.start).astype(np.int32), reasons, details, others])
            dropped.update(reasons)
    verdicts.close()
    columns.close()
    return dict(sorted(dropped.items()))


class _Table:
    """A Parquet file that is there only where it has rows."""

    def __init__(self, path: Path, columns: dict[str, pa.DataType]) -> None:
        self._path, self._columns = path, columns
        self._writer: pq.ParquetWriter | None = None

    def add(self, values: Sequence[Sequence[str | None] | npt.NDArray[np.int32]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not len(values[0]):
            return
        schema = pa.schema(list(self._columns.items()))
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, schema)
        self._writer.write_table(pa.table(dict(zip(self._columns, values, strict=True)), schema=schema))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def summed(found: Sequence[dict[str, Any]], groups: int, largest: int) -> dict[str, Any]:
    """The measures of a step from those of its shards: {"read", "dropped"}."""
    dropped: dict[str, int] = {}
    for one in found:
        for reason, count in one["dropped"].items():
            dropped[reason] = dropped.get(reason, 0) + count
    read = sum(one["read"] for one in found)
    return {
        "read": read,
        "kept": read - sum(dropped.values()),
        "dropped": dict(sorted(dropped.items())),
        "failed": {},
        "groups": groups,
        "largest_group": largest,
    }
