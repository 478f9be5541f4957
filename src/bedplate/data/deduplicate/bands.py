"""Banding: documents that share a band of their signatures meet in a bucket, and are linked where they are alike.

With b bands of r rows, two documents of Jaccard similarity s meet with a chance of 1 - (1 - s**r)**b (Leskovec,
Rajaraman, Ullman: Mining of Massive Datasets, 3.4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bedplate.data.deduplicate.components import LinkWriter
from bedplate.data.deduplicate.index import SIGNATURES
from bedplate.data.deduplicate.runs import I64, Part, expanded, groups, light, of_key, read_range, take
from bedplate.data.deduplicate.shingles import U32
from bedplate.data.deduplicate.signatures import agreement

ROUNDS = 8
"""How often those of a bucket that aren't like its first are tried against the first of themselves."""
_BATCH = 1 << 14
"""Documents whose signatures are held at once; a larger bucket is cut, each piece beginning with the bucket's first."""


def bucket_links(parts: Sequence[Part], first: int, end: int, threshold: float | None, out: LinkWriter) -> int:
    """Write links between rows that share a key in [first, end); gives how many meetings were looked at.

    In a bucket every document is linked to the first one, so that links grow with documents and not with pairs.
    threshold: link only where the signatures' agreement reaches it; those like the first are put aside, and the rest
    is tried anew, up to ROUNDS times. None: link all.
    """
    met = 0
    for begin, stop in light(parts, first, end):
        for members, bucket in _streamed(parts, begin) if stop - begin == 1 else _loaded(parts, begin, stop):
            met += len(members) - int(bucket[-1]) - 1
            if threshold is None:
                heads = members[np.searchsorted(bucket, bucket)]
                links = np.stack([heads, members], axis=1)
                out.add(links[heads != members])
            else:
                for links in _alike(parts, members, bucket, threshold):
                    out.add(links)
    return met


def _loaded(parts: Sequence[Part], first: int, end: int) -> Iterator[tuple[I64, I64]]:
    keys, _, rows = read_range(parts, first, end)
    begins, sizes = groups(keys, keys[:0])
    del keys
    yield from _batches(rows, begins, sizes)


def _streamed(parts: Sequence[Part], key: int) -> Iterator[tuple[I64, I64]]:
    """One bucket, too large to be held: its first document with some of the others, again and again."""
    head: I64 | None = None
    for _, rows in of_key(parts, key):
        if head is None:
            head, rows = rows[:1], rows[1:]
        for at in range(0, len(rows), _BATCH - 1):
            members = np.concatenate([head, rows[at : at + _BATCH - 1]])
            yield members, np.zeros(len(members), dtype=np.int64)


def _batches(rows: I64, begins: I64, sizes: I64) -> Iterator[tuple[I64, I64]]:
    """Buckets together, up to _BATCH documents: the documents, and the number of each one's bucket, from 0 on."""
    small = sizes <= _BATCH
    for begin, size in zip(begins[~small].tolist(), sizes[~small].tolist(), strict=True):
        for at in range(begin + 1, begin + size, _BATCH - 1):
            piece = rows[at : min(at + _BATCH - 1, begin + size)]
            yield np.concatenate([rows[begin : begin + 1], piece]), np.zeros(len(piece) + 1, dtype=np.int64)
    begins, sizes = begins[small], sizes[small]
    totals = np.cumsum(sizes)
    first = 0
    while first < len(sizes):
        before = int(totals[first - 1]) if first else 0
        end = max(first + 1, int(np.searchsorted(totals, before + _BATCH, side="right")))
        places, bucket = expanded(begins[first:end], sizes[first:end])
        yield rows[places], bucket
        first = end


def _alike(parts: Sequence[Part], members: I64, bucket: I64, threshold: float) -> Iterator[I64]:
    wanted, place = np.unique(members, return_inverse=True)
    signatures: U32 = take(parts, SIGNATURES, wanted).view(np.uint32)
    for _ in range(ROUNDS):
        heads = np.searchsorted(bucket, bucket)
        alike = np.empty(len(members), dtype=bool)
        for at in range(0, len(members), 4096):
            here = slice(at, at + 4096)
            alike[here] = agreement(signatures[place[here]], signatures[place[heads[here]]]) >= threshold
        links = np.stack([members[heads], members], axis=1)[alike]
        yield links[links[:, 0] != links[:, 1]]
        if alike.all():
            break
        members, bucket, place = members[~alike], bucket[~alike], place[~alike]
