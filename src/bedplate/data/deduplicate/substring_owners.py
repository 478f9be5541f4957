"""Which runs of words occurred before in a document that stays: step 4 of `substring` where documents may go.

A run whose first document is left out isn't there any more, so the next document that has it is its first. That is
decided in the corpus's order by one task, which knows of every run that occurs twice whether it is there yet.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bedplate.data.deduplicate.substring_config import SubstringConfig
from bedplate.data.deduplicate.substring_files import PartitionFiles, PartitionWriter, Records
from bedplate.data.deduplicate.substring_windows import WORDS, gathered, grouped
from bedplate.data.deduplicate.substring_winnowing import ROW_BITS
from bedplate.data.engine.tasks import task_folder

Numbers = npt.NDArray[np.int64]

_SEEN = "seen.bin"
_AT_ONCE = 1 << 18
"""Words of documents that are looked at together."""


def number_windows(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The places of runs that occur at least twice, each with the number of its run, by shard. arguments: folder (of
    the windows), count (of shards), piece. Measures: {runs: how many different ones}."""
    count = arguments["count"]
    files = PartitionFiles(arguments["folder"], "windows", 3, count)
    known = np.empty((0, 5), dtype=np.uint64)  # the first of each, and how often it occurs
    for rows in gathered(files.read(arguments["piece"])):
        both = np.concatenate((known, np.insert(rows, 4, np.uint64(1), axis=1)))
        order, begins = grouped(both)
        known = both[order[begins]]
        known[:, 4] = np.add.reduceat(both[order, 4], begins)
    known = known[known[:, 4] > 1, :4]
    with PartitionWriter(folder, "shared", 2, count) as out:
        for rows in gathered(files.read(arguments["piece"])):
            both = np.concatenate((known, rows))
            order, begins = grouped(both)
            first = np.empty(len(order), dtype=np.int64)
            first[order] = np.repeat(order[begins], np.diff(begins, append=len(order)))
            number = first[len(known) :]
            several = number < len(known)
            shared = np.stack((rows[several, 3], number[several].astype(np.uint64)), axis=1)
            out.add(rows[several, 2].astype(np.int64), shared)
    return {"runs": len(known)}


def find_marked(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The places of runs that occurred before in a document that stays, or earlier in the same one without overlapping,
    by shard. arguments: folder (of the numbered runs), runs (of each of its pieces), windows (their folder), count (of
    shards), config.

    Memory: besides a few documents' places, a file that is mapped, of a byte for each different run that occurs twice.
    """
    config, count = arguments["config"], arguments["count"]
    begins = np.concatenate(([0], np.cumsum(arguments["runs"]))).astype(np.int64)
    files = PartitionFiles(arguments["folder"], "shared", 2, len(arguments["runs"]))
    seen = np.memmap(folder / _SEEN, dtype=np.bool_, mode="w+", shape=max(int(begins[-1]), 1))
    with PartitionWriter(folder, "marked", 1, count) as out:
        for shard in range(count):
            words = np.load(task_folder(arguments["windows"], shard) / WORDS)
            pieces = [(begin, piece) for task, begin in enumerate(begins[:-1]) for piece in files.of(task, shard)]
            for place, number in _blocks(pieces, words):
                marked = place[_marked(place, number, words, seen, config)]
                out.add(np.full(len(marked), shard, dtype=np.int64), marked[:, None])
    del seen
    (folder / _SEEN).unlink()
    return {"marked": out.rows}


def too_much(repeated: int, words: int, config: SubstringConfig) -> bool:
    """Whether a document goes of whose words so many are repeated."""
    if config.action == "remove":
        return repeated > 0 and words - repeated < config.least_words
    return config.action == "drop" and repeated > config.most_repeated * words


def _marked(
    place: Records, number: Numbers, words: npt.NDArray[np.uint32], seen: npt.NDArray[np.bool_], config: SubstringConfig
) -> npt.NDArray[np.bool_]:
    """Which runs of some documents, in order, are repeated; `seen` learns of those that stay."""
    row = (place >> np.uint64(ROW_BITS)).astype(np.int64)
    marked = _again(place, row, number, config.words) if config.within else np.zeros(len(place), dtype=np.bool_)
    for first, end in pairwise([*np.flatnonzero(np.diff(row, prepend=-1)).tolist(), len(row)]):
        mine = number[first:end]
        marked[first:end] |= seen[mine]
        at = place[first:end][marked[first:end]]
        repeated = int(np.minimum(np.diff(at), np.uint64(config.words)).sum()) + config.words if len(at) else 0
        if not too_much(repeated, int(words[row[first]]), config):
            seen[mine] = True
    return marked


def _again(place: Records, row: Numbers, number: Numbers, words: int) -> npt.NDArray[np.bool_]:
    """Which runs repeat the first of their kind in the same document, without overlapping it."""
    order = np.lexsort((place, number, row))
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (np.diff(row[order]) != 0) | (np.diff(number[order]) != 0)
    begins = np.flatnonzero(new)
    first = np.repeat(place[order][begins], np.diff(begins, append=len(order)))
    again = np.empty(len(order), dtype=np.bool_)
    again[order] = place[order] - first >= np.uint64(words)
    return again


def _blocks(pieces: Sequence[tuple[int, Records]], words: npt.NDArray[np.uint32]) -> Iterator[tuple[Records, Numbers]]:
    """The places of a shard's documents and the numbers of their runs, some documents at a time, by place.

    pieces: (the number of the first run of its partition, places and numbers within it [N, 2]), sorted by place.
    """
    ends = np.cumsum(words, dtype=np.int64)
    at = [0] * len(pieces)
    first = 0
    while first < len(words):
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + _AT_ONCE, side="right")))
        found = [np.empty((0, 2), dtype=np.uint64)]
        for i, (begin, piece) in enumerate(pieces):
            end = bisect_left(piece, last << ROW_BITS, at[i], key=lambda record: int(record[0]))
            if end > at[i]:
                found.append(piece[at[i] : end] + np.array([0, begin], dtype=np.uint64))
            at[i] = end
        records = np.concatenate(found)
        records = records[np.argsort(records[:, 0])]
        if len(records):
            yield np.ascontiguousarray(records[:, 0]), records[:, 1].astype(np.int64)
        first = last
