"""k-means over the vectors of documents: centres from a sample, then the cluster of each document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bedplate.config import fold_in
from bedplate.data.deduplicate.semantic_vectors import LENGTHS, ROWS, VECTORS, Halves, Vectors, stored, unit
from bedplate.data.deduplicate.substring_files import PartitionWriter
from bedplate.data.engine.tasks import task_folder

CENTRES = "centres.npy"
MEMBERS = "members"
MEMBER = ("cluster", "position", "row", "length")
"""Columns of what `assign_shard` writes; position: among the shard's documents that were alive."""
_SCORES = 4 << 20  # similarities at once
_ROWS = 4096


def train_centres(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write `centres.npy`, float32 [K, D]. arguments: vectors (their folder), count (of shards), config, clusters.

    K is the number asked for, or fewer where there aren't as many documents; one centre, of nothing, without any.
    """
    config = arguments["config"]
    vectors = [stored(arguments["vectors"], shard, VECTORS) for shard in range(arguments["count"])]
    sample = _sample(vectors, config.sample, config.seed)
    random = np.random.Generator(np.random.PCG64(fold_in(config.seed, "centres")))
    first = np.sort(random.permutation(len(sample))[: arguments["clusters"]])
    centres = k_means(sample, sample[first], config.iterations)
    if not len(centres):
        centres = np.zeros((1, sample.shape[1]), dtype=np.float32)
    np.save(folder / CENTRES, centres, allow_pickle=False)
    return {"clusters": len(centres), "sample": len(sample)}


def k_means(vectors: Vectors, centres: Vectors, iterations: int) -> Vectors:
    """Centres [K, D] of vectors [N, D], all of length 1, after so many rounds of Lloyd's algorithm on the sphere, or
    as many as it takes until nothing moves. A centre that is the nearest of no vector stays where it is."""
    former = None
    for _ in range(iterations):
        cluster = nearest(vectors, centres)
        if former is not None and np.array_equal(cluster, former):
            break
        former = cluster
        order = np.argsort(cluster, kind="stable")
        taken, begins = np.unique(cluster[order], return_index=True)
        if len(taken):
            centres = centres.copy()
            centres[taken] = unit(np.add.reduceat(vectors[order], begins, axis=0))
    return centres


def nearest(vectors: Vectors, centres: Vectors) -> npt.NDArray[np.int64]:
    """The centre with the highest cosine of each vector, the first of several."""
    rows = max(1, _SCORES // max(len(centres), 1))
    parts = [(vectors[i : i + rows] @ centres.T).argmax(axis=1) for i in range(0, len(vectors), rows)]
    found: npt.NDArray[np.int64] = np.concatenate(parts).astype(np.int64) if parts else np.empty(0, dtype=np.int64)
    return found


def assign_shard(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the members of one shard, in partitions by group of clusters. arguments: vectors, centres (their folders),
    shard, groups."""
    centres = np.load(task_folder(arguments["centres"], 0) / CENTRES, allow_pickle=False)
    vectors, rows, lengths = (stored(arguments["vectors"], arguments["shard"], n) for n in (VECTORS, ROWS, LENGTHS))
    with PartitionWriter(folder, MEMBERS, len(MEMBER), arguments["groups"]) as out:
        for first in range(0, len(vectors), _ROWS):
            here = slice(first, first + _ROWS)
            cluster = nearest(unit(vectors[here]), centres)
            position = np.arange(first, first + len(cluster))
            columns = np.stack((cluster, position, rows[here], lengths[here]), axis=1)
            out.add(cluster % arguments["groups"], columns.astype(np.uint64))
    return {"documents": len(vectors)}


def _sample(vectors: list[Halves], most: int, seed: int) -> Vectors:
    """Up to `most` of the vectors, from all over them, without those of length 0."""
    count = sum(map(len, vectors))
    if count <= most:
        places = np.arange(count)
    else:  # one out of each of `most` equal stretches
        random = np.random.Generator(np.random.PCG64(fold_in(seed, "sample")))
        places = ((np.arange(most) + random.random(most)) * (count / most)).astype(np.int64)
    sample = np.concatenate([*_picked(vectors, places), np.zeros((0, vectors[0].shape[1]), dtype=np.float32)])
    return sample[sample.any(axis=1)]


def _picked(vectors: list[Halves], places: npt.NDArray[np.int64]) -> Iterator[Vectors]:
    first = 0
    for part in vectors:
        here = places[slice(*np.searchsorted(places, [first, first + len(part)]))] - first
        yield unit(part[here])
        first += len(part)
