"""Fingerprints of texts by winnowing, and which of them occur more than once: steps 1 and 2 of `substring`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bedplate.data.deduplicate.substring_files import PartitionFiles, PartitionWriter, Records
from bedplate.data.words import Hashes, Numbers, WordReader, Words, ngrams

if TYPE_CHECKING:
    from bedplate.data.curation.shards import Shards

ROW_BITS = 32
"""A place in a shard is its row times 2^32 plus the number of the word."""
_AT_ONCE = 1 << 20


def write_fingerprints(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The fingerprints of one shard: (hash, place), in partitions by hash. arguments: shards, shard, config, pieces."""
    words, pieces = arguments["config"].words, arguments["pieces"]
    count = 0
    with PartitionWriter(folder, "fingerprints", 2, pieces) as out:
        texts = shard_texts(arguments["shards"], arguments["shard"])
        for block, first, last in WordReader("spaces").around(texts, words):
            count += last - first
            at, hashes = fingerprints(block, words)
            fresh = (at >= first) & (at < last)
            at, hashes = at[fresh], hashes[fresh]
            out.add(partition_of(hashes, pieces), np.stack((hashes, places(block)[at]), axis=1))
    return {"words": count, "fingerprints": out.rows}


def find_repeated(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The places of fingerprints that occur twice, by shard. arguments: folder (of the fingerprints), count (of
    shards), piece."""
    files = PartitionFiles(arguments["folder"], "fingerprints", 2, arguments["count"])
    once = twice = np.empty(0, dtype=np.uint64)
    for hashes in _gathered(rows[:, 0] for _, rows in files.read(arguments["piece"])):
        different, counts = np.unique(hashes, return_counts=True)
        again = (counts > 1) | _among(different, once)
        twice = np.union1d(twice, different[again])
        once = np.union1d(once, different)
    with PartitionWriter(folder, "regions", 1, arguments["count"]) as out:
        for shard, rows in files.read(arguments["piece"]):
            found = rows[_among(rows[:, 0], twice)][:, 1:]
            out.add(np.full(len(found), shard, dtype=np.int64), found)
    return {"regions": out.rows, "different": len(once), "repeated": len(twice)}


def fingerprints(block: Words, words: int) -> tuple[Numbers, Hashes]:
    """Where the fingerprints of a block begin, and their hashes.

    A stretch of words // 2 words is one if its hash is the least of some run of `words` words that it is in. Only
    those are all there that have `words` words of the block, or the end of a document, on both sides.
    """
    stretch = words // 2
    wide = words - stretch + 1  # stretches of a run
    if len(block) < words:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint64)
    hashes = ngrams(block.hashes[0], stretch)
    least = _sliding(np.minimum, hashes, wide)
    least[block.document[: len(least)] != block.document[words - 1 :]] = 0  # not a run: it goes on in another document
    nothing = np.zeros(wide - 1, dtype=np.uint64)
    highest = _sliding(np.maximum, np.concatenate((nothing, least, nothing)), wide)
    at = np.flatnonzero(highest == hashes)
    return at, hashes[at]


def places(block: Words) -> Hashes:
    """Each word's place in the shard."""
    found: Hashes = ((block.document << ROW_BITS) | block.place).astype(np.uint64)
    return found


def partition_of(hashes: Hashes, count: int) -> Numbers:
    """The partition of each hash."""
    return (hashes % np.uint64(count)).astype(np.int64)


def shard_texts(shards: Shards, shard: int) -> Iterator[tuple[int, memoryview]]:
    """The texts of a shard with their rows, as they lie in memory."""
    for rows, batch in shards.read(shard, ["text"]):
        column = batch.column("text")
        for number, row in enumerate(rows.tolist()):
            if (text := column[number].as_buffer()) is not None:
                yield row, memoryview(text)


def _sliding(least: np.ufunc, numbers: Hashes, wide: int) -> Hashes:
    """The least (or greatest) of each run of `wide` numbers, by doubling."""
    size = 1
    while 2 * size <= wide:
        numbers = least(numbers[:-size], numbers[size:])
        size *= 2
    rest = wide - size
    found: Hashes = least(numbers[:-rest], numbers[rest:]) if rest else numbers.copy()
    return found


def _among(hashes: Hashes, known: Hashes) -> npt.NDArray[np.bool_]:
    """Which of the hashes are among the known, which are sorted."""
    if not len(known):
        return np.zeros(len(hashes), dtype=np.bool_)
    at = np.searchsorted(known, hashes)
    at[at == len(known)] = 0
    found: npt.NDArray[np.bool_] = known[at] == hashes
    return found


def _gathered(pieces: Iterator[Records]) -> Iterator[Hashes]:
    """Small pieces together, about _AT_ONCE numbers."""
    held: list[Records] = []
    size = 0
    for piece in pieces:
        held.append(np.asarray(piece))
        size += len(piece)
        if size >= _AT_ONCE:
            yield np.concatenate(held)
            held, size = [], 0
    if held:
        yield np.concatenate(held)
