"""The runs of words around repeated fingerprints, and which of them occurred before: steps 3 and 4 of `substring`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bedplate.data.deduplicate.substring_files import PartitionFiles, PartitionWriter, Records, within
from bedplate.data.deduplicate.substring_winnowing import ROW_BITS, partition_of, places
from bedplate.data.words import Hashes, WordReader, ngrams

if TYPE_CHECKING:
    from bedplate.data.curation.shards import Shards

SALTS = ("words", "words again")
WORDS = "words.npy"
"""uint32 [rows of the shard]: how many words each document has; 0 for one without a repeated fingerprint."""
_AT_ONCE = 1 << 18


def write_windows(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Every run of words around a repeated fingerprint of one shard: (hash, second hash, place), in partitions by hash;
    and how long the documents are that have any.

    arguments: shards, shard, config, folder and given (of the repeated fingerprints and their pieces), pieces.
    """
    config, shard, pieces = arguments["config"], arguments["shard"], arguments["pieces"]
    regions = pieces_of(arguments["folder"], "regions", arguments["given"], shard)
    words, ahead = config.words, config.words - config.words // 2
    sizes = np.zeros(arguments["shards"].rows(shard), dtype=np.uint32)
    with PartitionWriter(folder, "windows", 3, pieces) as out:
        for keys, texts in texts_with(arguments["shards"], shard, regions):
            for block, first, last in WordReader("spaces", SALTS).around(texts, words):
                so_far = (block.place[first:last] + 1).astype(np.uint32)
                np.maximum.at(sizes, block.document[first:last], so_far)
                last = min(last, len(block) - words + 1)
                if last <= first:
                    continue
                here = places(block)[first:last]
                near = np.searchsorted(keys, here + np.uint64(ahead), side="right") > np.searchsorted(keys, here)
                near &= block.document[first:last] == block.document[first + words - 1 : last + words - 1]
                one, two = (ngrams(hashes[first : last + words - 1], words)[near] for hashes in block.hashes)
                out.add(partition_of(one, pieces), np.stack((one, two, here[near]), axis=1))
    np.save(folder / WORDS, sizes)
    return {"windows": out.rows}


def find_marked(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The places of runs that occurred before, by shard, where every document stays. arguments: folder (of the
    windows), count (of shards), config, piece.

    Keeps the first of each different run: (hash, second hash, shard, place). What comes later is held against it.
    """
    config, count = arguments["config"], arguments["count"]
    files = PartitionFiles(arguments["folder"], "windows", 3, count)
    firsts = np.empty((0, 4), dtype=np.uint64)
    with PartitionWriter(folder, "marked", 1, count) as out:
        for rows in gathered(files.read(arguments["piece"])):
            both = np.concatenate((firsts, rows))
            order, begins = grouped(both)
            first = np.repeat(order[begins], np.diff(begins, append=len(order)))
            original = np.empty(len(order), dtype=np.int64)
            original[order] = first
            marked = _before(both, original, config.words, config.within)[len(firsts) :]
            out.add(rows[marked, 2].astype(np.int64), rows[marked, 3:])
            firsts = both[order[begins]]
    return {"marked": out.rows, "different": len(firsts)}


def pieces_of(folder: Path, name: str, tasks: int, shard: int) -> list[Records]:
    """What the pieces of a step say of one shard: places, sorted in each."""
    files = PartitionFiles(folder, name, 1, tasks)
    return [piece for task in range(tasks) for piece in files.of(task, shard)]


def texts_with(
    shards: Shards, shard: int, pieces: list[Records]
) -> Iterator[tuple[Hashes, list[tuple[int, memoryview]]]]:
    """Some rows of the shard at a time, those that have places among the pieces': their places, and their texts."""
    for rows, batch in shards.read(shard, ["text"]):
        keys = within(pieces, int(rows[0]) << ROW_BITS, (int(rows[-1]) + 1) << ROW_BITS)
        if not len(keys):
            continue
        column = batch.column("text")
        wanted = np.unique(keys >> np.uint64(ROW_BITS)).astype(np.int64)
        at = np.searchsorted(rows, wanted)
        texts = [(row, memoryview(column[i].as_buffer())) for row, i in zip(wanted.tolist(), at.tolist(), strict=True)]
        yield keys, texts


def _before(both: Records, original: npt.NDArray[np.int64], words: int, inside: bool) -> npt.NDArray[np.bool_]:
    """Whether each run is a repeat of its first, which is elsewhere, or in the same document without overlapping."""
    place, first = both[:, 3], both[original, 3]
    elsewhere = (both[:, 2] != both[original, 2]) | (place >> np.uint64(ROW_BITS) != first >> np.uint64(ROW_BITS))
    if not inside:
        return elsewhere
    apart: npt.NDArray[np.bool_] = elsewhere | (place - first >= np.uint64(words))
    return apart


def grouped(both: Records) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The order that brings equal runs together, the earliest first, and where in it each group begins."""
    order = np.argsort(both[:, 0], kind="stable")
    one, two = both[order, 0], both[order, 1]
    same = one[1:] == one[:-1]
    if (same & (two[1:] != two[:-1])).any():  # the first hash has met its like: the second tells them apart
        order = np.lexsort((both[:, 1], both[:, 0]))
        one, two = both[order, 0], both[order, 1]
        same = (one[1:] == one[:-1]) & (two[1:] == two[:-1])
    return order, np.flatnonzero(np.concatenate((np.ones(min(len(both), 1), dtype=np.bool_), ~same)))


def gathered(pieces: Iterator[tuple[int, Records]]) -> Iterator[Records]:
    """(hash, second hash, shard, place), about _AT_ONCE rows together."""
    held: list[Records] = []
    size = 0
    for shard, rows in pieces:
        held.append(np.insert(rows, 2, np.uint64(shard), axis=1))
        size += len(rows)
        if size >= _AT_ONCE:
            yield np.concatenate(held)
            held, size = [], 0
    if held:
        yield np.concatenate(held)
