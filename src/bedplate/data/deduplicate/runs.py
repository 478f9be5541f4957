"""Keys of documents on disk, in sorted runs: what equal keys bring together is found a range of keys at a time.

A shard's task writes its documents' keys as runs, each sorted. Every task of the next step takes one range of keys out
of the runs of all shards, so that what must meet does, and memory depends on the size of a range alone; what shares
one key with a million others is streamed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

RUN = 1 << 20
"""Keys in a run: 12 to 20 bytes each, and twice that while they are sorted."""
RANGE = 1 << 19
"""Keys that the task of a range is meant to have: it holds about 60 bytes for each."""
MOST = 1 << 20
"""Keys that it takes at once where it has more: a text that is everywhere has its key in one range."""
BLOCK = 1 << 16
"""Keys that are read at once where they all are the same one."""


@dataclass(frozen=True)
class Part:
    """What a task left of some documents. Their rows count from `start`, in the corpus's order, after those of the
    earlier corpus where there is one."""

    folder: Path
    start: int
    rows: int

    @property
    def end(self) -> int:
        return self.start + self.rows


class RunWriter:
    """Writes keys as `run-00000.key.npy` (uint64, sorted), `.row.npy` (uint32, the row in its part), and with `wide`
    keys of 128 bits `.low.npy` (uint64). kind: what their names begin with, where a part has several sorts of keys."""

    def __init__(self, folder: Path, *, wide: bool = False, kind: str = "run") -> None:
        self._folder = folder
        self._kind = kind
        self._wide = wide
        self._held: list[tuple[U64, U64, npt.NDArray[np.uint32]]] = []
        self._count = self._runs = 0

    def add(self, keys: U64, rows: I64, low: U64 | None = None) -> None:
        """Some keys of documents, [N] each."""
        self._held.append((keys, keys[:0] if low is None else low, rows.astype(np.uint32)))
        self._count += len(keys)
        if self._count >= RUN:
            self.flush()

    def flush(self) -> None:
        """Write what is held. Call it at the end."""
        if not self._count:
            return
        keys, low, rows = (np.concatenate(held) for held in zip(*self._held, strict=True))
        self._held, self._count = [], 0
        order = np.argsort(keys, kind="stable")
        name = self._folder / f"{self._kind}-{self._runs:05d}"
        np.save(f"{name}.key.npy", keys[order])
        np.save(f"{name}.row.npy", rows[order])
        if self._wide:
            np.save(f"{name}.low.npy", low[order])
        self._runs += 1


def key_count(parts: Sequence[Part], kind: str = "run") -> int:
    """Keys in all runs of the parts."""
    return sum(len(np.load(run, mmap_mode="r")) for part in parts for run in runs(part.folder, kind))


def ranges(count: int, size: int = RANGE) -> list[tuple[int, int]]:
    """Ranges of keys, [first, end), that cut 2**64 into as many as leave about `size` of `count` keys to each."""
    number = max(1, -(-count // size))
    cuts = [(i << 64) // number for i in range(number + 1)]
    return list(pairwise(cuts))


def light(parts: Sequence[Part], first: int, end: int, kind: str = "run") -> Iterator[tuple[int, int]]:
    """The range [first, end) cut into ranges of at most MOST keys each, but for those of one number alone, [n, n + 1),
    which as many documents share as may be: they are to be read by `of_key`."""
    slices = list(_slices(parts, first, end, kind))
    if sum(b - a for _, _, a, b in slices) <= MOST or end - first == 1:
        yield first, end
        return
    shift = max(0, (end - first - 1).bit_length() - 16)
    counts = np.zeros((end - 1 - first >> shift) + 1, dtype=np.int64)
    for _, path, a, b in slices:
        keys = np.load(path, mmap_mode="r")
        for at in range(a, b, BLOCK):
            bins = (np.array(keys[at : min(at + BLOCK, b)]) - np.uint64(first)) >> np.uint64(shift)
            counts += np.bincount(bins.astype(np.int64), minlength=len(counts))
    begin = held = 0
    for place, count in enumerate([*counts.tolist(), MOST + 1]):
        if held and held + count > MOST:
            part = first + (begin << shift), min(end, first + (place << shift))
            yield from [part] if held <= MOST else light(parts, *part, kind)
            held = 0
        if not held:
            begin = place
        held += count


def of_key(parts: Sequence[Part], key: int, *, wide: bool = False, kind: str = "run") -> Iterator[tuple[U64, I64]]:
    """All that have one key, some at a time: the low halves of their keys (empty unless wide) and their rows, which
    rise."""
    for part, path, a, b in _slices(parts, key, key + 1, kind):
        for at in range(a, b, BLOCK):
            here = slice(at, min(at + BLOCK, b))
            rows = np.load(beside(path, "row"), mmap_mode="r")[here].astype(np.int64) + part.start
            low = np.array(np.load(beside(path, "low"), mmap_mode="r")[here]) if wide else np.empty(0, np.uint64)
            yield low, rows


def _slices(parts: Sequence[Part], first: int, end: int, kind: str) -> Iterator[tuple[Part, Path, int, int]]:
    """Where runs have keys in [first, end): (part, run, begin, end)."""
    for part in parts:
        for run in runs(part.folder, kind):
            keys = np.load(run, mmap_mode="r")
            a = int(np.searchsorted(keys, np.uint64(first)))
            b = len(keys) if end >= 1 << 64 else int(np.searchsorted(keys, np.uint64(end)))
            if a < b:
                yield part, run, a, b


def read_range(
    parts: Sequence[Part], first: int, end: int, *, wide: bool = False, kind: str = "run"
) -> tuple[U64, U64, I64]:
    """The keys in [first, end), their low halves (empty unless wide), and their documents' rows; by key, then row."""
    found: list[tuple[U64, U64, I64]] = [(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.int64))]
    for part, run, a, b in _slices(parts, first, end, kind):
        rows = np.load(beside(run, "row"), mmap_mode="r")[a:b].astype(np.int64) + part.start
        low = np.array(np.load(beside(run, "low"), mmap_mode="r")[a:b]) if wide else np.empty(0, np.uint64)
        found.append((np.array(np.load(run, mmap_mode="r")[a:b]), low, rows))
    keys, low, rows = (np.concatenate(column) for column in zip(*found, strict=True))
    del found
    order = np.lexsort((rows, low, keys) if wide else (rows, keys))
    return keys[order], low[order] if wide else low, rows[order]


def groups(keys: U64, low: U64) -> tuple[I64, I64]:
    """Where groups of two and more equal keys begin among sorted ones, and their sizes."""
    if not len(keys):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    new = np.ones(len(keys), dtype=bool)
    new[1:] = keys[1:] != keys[:-1]
    if len(low):
        new[1:] |= low[1:] != low[:-1]
    begins = np.flatnonzero(new)
    sizes = np.diff(np.append(begins, len(keys)))
    return begins[sizes > 1], sizes[sizes > 1]


def expanded(begins: I64, sizes: I64) -> tuple[I64, I64]:
    """The places of all members of groups, and the number of each one's group."""
    number = np.repeat(np.arange(len(sizes)), sizes)
    within = np.arange(len(number)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return begins[number] + within, number


def take(parts: Sequence[Part], name: str, rows: I64) -> npt.NDArray[np.generic]:
    """Rows of the arrays that every part has under a name. Parts are mapped one at a time, and only where asked for."""
    order = np.argsort(rows, kind="stable")
    wanted = rows[order]
    cuts = np.searchsorted(wanted, [part.start for part in parts] + [parts[-1].end]).tolist() if parts else [0]
    out: npt.NDArray[np.generic] | None = None
    for part, a, b in zip(parts, cuts, cuts[1:], strict=False):
        if a == b:
            continue
        source = np.load(part.folder / name, mmap_mode="r")
        if out is None:
            out = np.empty((len(rows), *source.shape[1:]), dtype=source.dtype)
        out[order[a:b]] = source[wanted[a:b] - part.start]
        del source
    if out is None:
        raise ValueError("no rows are asked for")
    return out


def runs(folder: Path, kind: str = "run") -> list[Path]:
    """The runs of a part, by their keys' files."""
    return sorted(folder.glob(f"{kind}-*.key.npy"))


def beside(run: Path, column: str) -> Path:
    """The file of another column of a run: "row", "low"."""
    return run.with_name(run.name.replace(".key.", f".{column}."))
