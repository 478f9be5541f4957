"""From groups of copies to verdicts: which one stays, and what is said of the others."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bedplate.data.curation.shards import COLUMNS, VERDICTS, Shards
from bedplate.data.deduplicate.facts import RANK, SHA256
from bedplate.data.deduplicate.runs import I64, Part, take
from bedplate.data.engine.tasks import task_folder

MEMBERS = "members.npy"
MEMBER = np.dtype([("row", "<i8"), ("kept", "<i8"), ("size", "<i4"), ("sha256", "u1", (32,))])
"""A document of a group: its row, the row and the hash of the one that stays, and how many the group has."""

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


def decide(rows: I64, labels: I64, ranks: I64, parts: Sequence[Part], path: Path) -> tuple[int, int]:
    """Write the members of groups by row; gives the number of groups, and the size of the largest.

    rows [N], sorted; labels [N]: equal within a group. Of a group the document of least rank stays, and of those the
    first. Memory: about 50 bytes a row.
    """
    order = np.lexsort((ranks, labels))  # stable, so equals stay in the order of rows
    new = np.ones(len(order), dtype=bool)
    new[1:] = labels[order[1:]] != labels[order[:-1]]
    begins = np.flatnonzero(new)
    sizes = np.diff(np.append(begins, len(order))).astype(np.int32)
    kept, size = np.empty_like(rows), np.empty(len(rows), dtype=np.int32)
    kept[order] = np.repeat(rows[order[begins]], sizes)
    size[order] = np.repeat(sizes, sizes)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=MEMBER, shape=(len(rows),)) if len(rows) else None
    if out is None:
        np.save(path, np.empty(0, dtype=MEMBER))
        return 0, 0
    for first in range(0, len(rows), _BLOCK):
        here = slice(first, first + _BLOCK)
        block = np.empty(len(rows[here]), dtype=MEMBER)
        block["row"], block["kept"], block["size"] = rows[here], kept[here], size[here]
        block["sha256"] = take(parts, SHA256, kept[here])
        out[here] = block
    out.flush()
    return len(begins), int(sizes.max(initial=0))


def members(folders: Sequence[Path], part: Part) -> npt.NDArray[Any]:
    """The members that lie in a part, by row."""
    found = [np.empty(0, dtype=MEMBER)]
    for folder in folders:
        table = np.load(folder / MEMBERS, mmap_mode="r")
        a, b = (bisect_left(table, row, key=lambda member: int(member["row"])) for row in (part.start, part.end))
        found.append(np.array(table[a:b]))
    joined = np.concatenate(found)
    return joined[np.argsort(joined["row"], kind="stable")]


def write(
    folder: Path, part: Part, found: npt.NDArray[Any], reasons: list[str], details: list[str | None], copies: str
) -> dict[str, int]:
    """Write `verdicts.parquet` of the members of a shard that don't stay, and in `columns.parquet`, under the name
    `copies`, how many stood behind each that does. Gives how many were dropped for each reason.

    reasons, details: of those that don't stay, in order.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stays = found["row"] == found["kept"]
    lost = found[~stays]
    others = [bytes(sha256[:12]).hex() for sha256 in lost["sha256"]]
    table = {
        "row": pa.array((lost["row"] - part.start).astype(np.int32)),
        "reason": pa.array(reasons, pa.string()),
        "detail": pa.array(details, pa.string()),
        "other": pa.array(others, pa.string()),
    }
    if len(lost):
        pq.write_table(pa.table(table), folder / VERDICTS)
    if stays.any():
        best = found[stays]
        columns = {"row": (best["row"] - part.start).astype(np.int32), copies: best["size"] - 1}
        pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), folder / COLUMNS)
    return {reason: reasons.count(reason) for reason in sorted(set(reasons))}


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
