"""Which documents of a cluster are like one that is kept, and what that says of each shard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bedplate.data.corpus import ParquetTable
from bedplate.data.curation.shards import COLUMNS, VERDICTS
from bedplate.data.deduplicate.semantic_clusters import MEMBER, MEMBERS
from bedplate.data.deduplicate.semantic_vectors import IDS, VECTORS, Halves, Vectors, stored, unit
from bedplate.data.deduplicate.substring_files import PartitionFiles, PartitionWriter

Numbers = npt.NDArray[np.int64]

ROUNDING = 1e-6
"""How much less than the threshold a cosine may be: that of a text with itself isn't quite 1."""
_OUT = ("row", "cluster", "similarity", "kept", "shard", "position")
_BLOCK, _KEPT = 512, 4096
_FILE = "cluster.npy"
_NONE = -1.0  # the similarity of a cluster's first
_VERDICT = {"row": "int32", "reason": "string", "detail": "string", "other": "string"}
COLUMN_KINDS = {"row": "int32", "semantic_cluster": "int32", "semantic_similarity": "float32"}


def compare_group(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What becomes of the members of a group of clusters, by shard. arguments: vectors, members (their folders), count
    (of shards), config, group."""
    config, count = arguments["config"], arguments["count"]
    files = PartitionFiles(arguments["members"], MEMBERS, len(MEMBER), count)
    parts = [np.insert(rows, 0, shard, axis=1) for shard, rows in files.read(arguments["group"])]
    members = np.concatenate([*parts, np.empty((0, 1 + len(MEMBER)), dtype=np.uint64)]).astype(np.int64)
    shard, cluster, _, row, length = members.T
    longest = -length if config.keep == "longest" else np.zeros(len(length), dtype=np.int64)
    members = members[np.lexsort((row, shard, longest, cluster))]
    vectors = [stored(arguments["vectors"], number, VECTORS) for number in range(count)]
    _, begins = np.unique(members[:, 1], return_index=True)
    out = np.empty((len(members), len(_OUT)), dtype=np.int64)
    for first, last in zip(begins.tolist(), [*begins[1:].tolist(), len(members)], strict=True):
        mine = members[first:last]
        similarity, like = compared(_gathered(vectors, mine, folder), config.threshold)
        kept = like < 0
        other = np.where(kept, 0, like)
        bits = similarity.view(np.int32).astype(np.int64)
        out[first:last] = np.stack((mine[:, 3], mine[:, 1], bits, kept, mine[other, 0], mine[other, 2]), axis=1)
    order = np.lexsort((out[:, 0], members[:, 0]))
    (folder / _FILE).unlink(missing_ok=True)
    with PartitionWriter(folder, "compared", len(_OUT), count) as writer:
        writer.add(members[order, 0], out[order].astype(np.uint64))
    return {"documents": len(members)}


def compared(vectors: Halves, threshold: float) -> tuple[npt.NDArray[np.float32], Numbers]:
    """Of vectors [N, D] in order of preference: the highest cosine with one that is kept before it (-1: there is none)
    and which that is, if it is at least the threshold, else -1: then it is kept itself."""
    count = len(vectors)
    similarity, like = np.full(count, _NONE, dtype=np.float32), np.full(count, -1, dtype=np.int64)
    kept: list[int] = []
    for first in range(0, count, _BLOCK):
        block = unit(vectors[first : first + _BLOCK])
        best, which = _best(block, vectors, kept)
        own = block @ block.T
        here: list[int] = []
        for i in range(len(block)):
            if here and (inner := float(own[i, here].max())) > best[i]:
                best[i], which[i] = inner, first + here[int(own[i, here].argmax())]
            if best[i] < threshold - ROUNDING:
                which[i] = -1
                here.append(i)
        kept += [first + i for i in here]
        similarity[first : first + len(block)], like[first : first + len(block)] = best, which
    return similarity, like


def decide_shard(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write what is decided of one shard. arguments: vectors, compared (their folders), count (of shards), groups,
    shard."""
    files = PartitionFiles(arguments["compared"], "compared", len(_OUT), arguments["groups"])
    parts = [piece for group in range(arguments["groups"]) for piece in files.of(group, arguments["shard"])]
    found = np.concatenate([*parts, np.empty((0, len(_OUT)), dtype=np.uint64)]).astype(np.int64)
    found = found[np.argsort(found[:, 0])]
    similarities = found[:, 2].astype(np.int32).view(np.float32)
    dropped = 0
    with (
        ParquetTable(folder, VERDICTS.removesuffix(".parquet"), _VERDICT, single=True) as verdicts,
        ParquetTable(folder, COLUMNS.removesuffix(".parquet"), COLUMN_KINDS, single=True) as columns,
    ):
        for (row, cluster, _, kept, shard, position), cosine in zip(found.tolist(), similarities.tolist(), strict=True):
            known = None if cosine == _NONE else cosine
            columns.add({"row": row, "semantic_cluster": cluster, "semantic_similarity": known})
            if not kept:
                dropped += 1
                other = bytes(stored(arguments["vectors"], shard, IDS)[position]).decode()
                why = {"reason": "semantic_duplicate", "detail": f"cosine {cosine:.4f}"}
                verdicts.add({"row": row, **why, "other": other})
    return {"documents": len(found), "dropped": dropped}


def _gathered(vectors: Sequence[Halves], members: Numbers, folder: Path) -> Halves:
    """The vectors of a cluster's members, one after the other, in a file that is mapped."""
    width = vectors[0].shape[1]
    out: Halves = np.lib.format.open_memmap(folder / _FILE, mode="w+", dtype=np.float16, shape=(len(members), width))
    for shard in np.unique(members[:, 0]).tolist():
        here = np.flatnonzero(members[:, 0] == shard)
        for first in range(0, len(here), _KEPT):
            some = here[first : first + _KEPT]
            out[some] = vectors[shard][members[some, 2]]
    return out


def _best(block: Vectors, vectors: Halves, kept: list[int]) -> tuple[Vectors, Numbers]:
    """The highest cosine of each vector of a block with those that are kept, and with which."""
    best, which = np.full(len(block), _NONE, dtype=np.float32), np.full(len(block), -1, dtype=np.int64)
    for first in range(0, len(kept), _KEPT):
        some = np.array(kept[first : first + _KEPT], dtype=np.int64)
        cosines = block @ unit(vectors[some]).T
        at = cosines.argmax(axis=1)
        highest = cosines[np.arange(len(block)), at]
        more = highest > best
        best[more], which[more] = highest[more], some[at[more]]
    return best, which
