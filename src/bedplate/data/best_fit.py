"""Rows of whole documents, packed by best fit: none is cut that fits a row (Ding et al., "Fewer Truncations Improve
Language Modeling", arXiv 2404.10830). An index that is computed and never stored.

A document of more pairs than a row has is cut into whole rows and a rest. Rests and the documents that fit are placed
the longest first, each into the fullest row that has room for it. What stays free of a row is padding.

Only lengths matter to where a piece can go, so pieces of one length are placed many at a time: into every row with the
same room, as many as go in. The room that this leaves is less than half of what there was, so a length takes few such
steps, and all lengths together O(length log length), however many documents there are.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bedplate.config import fold_in
from bedplate.data.packing import (
    Around,
    Ids,
    PackedRows,
    Pairs,
    PairSource,
    Rows,
    as_rows,
    check_length,
    check_rows,
    shuffled,
    shuffled_rows,
)
from bedplate.data.tokens import TokenSet

Numbers = npt.NDArray[np.integer]


class BestFitRows:
    """The endless stream of training rows, each of whole documents and rests of long ones; all of them once an epoch.

    Row r is a pure function of (tokens, length, seed, r); that, phases, copies and `around` are as with `PackedRows`,
    but no row is shared by two epochs or by two phases. Documents are packed once and rows shuffled anew each epoch:
    packing again would give rows of the same lengths, filled with other documents that don't see each other, and cost
    as much again.

    Memory: 5 or 6 bytes a document or row-long part of one, and 8 bytes a row, with 8 more for each of the two shuffles
    that are kept; some 70 bytes a document while it is made.
    """

    def __init__(self, tokens: TokenSet, split: str, length: int, seed: int, *, around: Around | None = None) -> None:
        self._source = PairSource(tokens, split, around)
        self._boundary = tokens.boundary_id
        self.length = check_length(length)
        self.seed = seed
        self.pairs_per_epoch: int = self._source.total
        self._index = _Index(self._source.sizes, self._source.phase, length, seed)
        self.rows_per_epoch: int = len(self._index.ends)
        """Rows of an epoch, which are shuffled among each other."""
        self._shuffle = lru_cache(maxsize=2)(self._make_shuffle)  # a batch may touch two epochs

    def rows(self, first: int, count: int) -> Rows:
        """Rows [first, first + count).

        Returns tokens, targets, segments, positions int64 [count, length] and keep, valid bool [count, length], true
        but for the padding, which comes last and is a segment of its own. Segments number a row's pieces from 0;
        positions count from 0 in every segment.
        """
        check_rows(first, count)
        places = np.array([self.place(row) % self.rows_per_epoch for row in range(first, first + count)])
        documents, skipped, taken, filled = self._index.pieces(places)
        found = self._source.pieces(documents, skipped, taken)
        keep = np.arange(self.length) < filled[:, None]
        flat = Pairs(*(np.full(keep.size, value, dtype=np.int64) for value in (self._boundary, self._boundary, -1)))
        there = np.flatnonzero(keep)
        flat.inputs[there], flat.targets[there], flat.ordinal[there] = found.inputs, found.targets, found.ordinal
        return as_rows(flat, count, self.length) | {"keep": keep, "valid": keep.copy()}

    def place(self, row: int) -> int:
        """Where row `row` lies in the unshuffled stream, counted in rows."""
        epoch, within = divmod(row, self.rows_per_epoch)
        return epoch * self.rows_per_epoch + int(self._shuffle(epoch)[within])

    def rows_with(self, document: int, epoch: int) -> Ids:
        """The rows, ascending int64, that hold any pair of entry `document` of the split's table in one epoch. No token
        is read."""
        held = np.isin(self._shuffle(epoch), self._index.rows_of(document))
        return epoch * self.rows_per_epoch + np.flatnonzero(held)

    def measures(self) -> dict[str, Any]:
        """What an epoch holds: documents, rows, pairs, padding (share of all places), cut_documents (those longer than
        a row)."""
        return {
            "documents": self._source.documents,
            "rows": self.rows_per_epoch,
            "pairs": self.pairs_per_epoch,
            "padding": 1 - self.pairs_per_epoch / (self.rows_per_epoch * self.length),
            "cut_documents": int(np.count_nonzero(self._source.sizes > self.length)),
        }

    def _make_shuffle(self, epoch: int) -> Ids:
        return shuffled_rows(self._index.phase_rows, self.seed, epoch)


def training_rows(
    packing: Literal["stream", "best_fit"],
    tokens: TokenSet,
    length: int,
    seed: int,
    *,
    around: Around | None = None,
) -> PackedRows | BestFitRows:
    """The training split's rows as a `pretrain` configuration's `packing` says."""
    kind = PackedRows if packing == "stream" else BestFitRows
    return kind(tokens, "train", length, seed, around=around)


class _Index:
    """Which pieces are in which row: piece i is of entry `documents[i]`, after `parts[i]` whole rows of it; row r has
    the pieces up to `ends[r]`. phase_rows: the rows at which phases begin, and the end."""

    def __init__(self, sizes: Ids, phase: Ids | None, length: int, seed: int) -> None:
        self._sizes, self._length = sizes, length
        order = shuffled(len(sizes), fold_in(seed, "pieces")).astype(np.min_scalar_type(len(sizes)))
        if phase is None:
            phases = [order]
        else:
            by_phase = order[np.argsort(phase[order], kind="stable")]
            phases = np.split(by_phase, np.cumsum(np.bincount(phase))[:-1])
        packed = [_packed(documents, sizes[documents], length) for documents in phases]
        self.documents = np.concatenate([documents for documents, _, _ in packed])
        self.parts = np.concatenate([parts for _, parts, _ in packed])
        counts = [counts for _, _, counts in packed]
        self.ends: Ids = np.cumsum(np.concatenate(counts), dtype=np.int64)
        self.phase_rows: list[int] = [0, *np.cumsum([len(c) for c in counts]).tolist()]

    def pieces(self, rows: Ids) -> tuple[Ids, Ids, Ids, Ids]:
        """The pieces of these rows, one row after another: documents, how many pairs each skips of its document, and
        how many it takes; and the pairs of each row. int64."""
        ends = self.ends[rows]
        counts = ends - np.where(rows > 0, self.ends[rows - 1], 0)
        at = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - ends, counts)
        documents = self.documents[at].astype(np.int64)
        skipped = self.parts[at].astype(np.int64) * self._length
        taken = np.minimum(self._sizes[documents] - skipped, self._length)
        filled = np.add.reduceat(taken, np.cumsum(counts) - counts)
        return documents, skipped, taken, filled

    def rows_of(self, document: int) -> Ids:
        return np.searchsorted(self.ends, np.flatnonzero(self.documents == document), side="right").astype(np.int64)


def _packed(documents: Numbers, sizes: Ids, length: int) -> tuple[Numbers, Numbers, Numbers]:
    """Documents and parts of the pieces as `_Index` has them, and the number of pieces in each row: first the rows that
    one document fills alone."""
    whole = sizes // length
    long = np.flatnonzero(whole)
    times = whole[long]
    kind = np.min_scalar_type(int(times.max(initial=0)))
    part = (np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)).astype(kind)
    rests = sizes - whole * length
    left = np.flatnonzero(rests)
    rows = best_fit(rests[left], length)
    left = left[np.argsort(rows, kind="stable")]
    return (
        np.concatenate([np.repeat(documents[long], times), documents[left]]),
        np.concatenate([part, whole[left].astype(kind)]),
        np.concatenate([np.ones(len(part), dtype=np.int32), np.bincount(rows).astype(np.int32)]),
    )


def best_fit(sizes: Numbers, length: int) -> npt.NDArray[np.int32]:
    """The row of each piece, int32 [N], for pieces of 1 to `length` pairs: the longest first, those of one size in the
    given order, each into the row with the least room that is enough, or a new one. Of rows with the same room the one
    that has had just this room the longest is taken. Rows are numbered as they are begun.

    At most 11/9 of the fewest rows, and a few (Johnson 1974).
    """
    kind = np.uint16 if length <= np.iinfo(np.uint16).max else np.int64  # numpy sorts 16 bits in linear time
    order = np.argsort((length - sizes).astype(kind), kind="stable")
    counts = np.bincount(sizes, minlength=length + 1)
    placed = np.empty(len(sizes), dtype=np.int32)
    rows = _OpenRows(length)
    at = 0
    for size in np.flatnonzero(counts)[::-1].tolist():
        end = at + int(counts[size])
        while at < end:
            room = rows.least_room(size)
            each = room // size
            taken = rows.take(room, -(-(end - at) // each))
            fitted = min(end - at, len(taken) * each)
            placed[at : at + fitted] = np.repeat(taken, each)[:fitted]
            filled, more = divmod(fitted, each)
            rows.put(room - each * size, taken[:filled])
            if more:
                rows.put(room - more * size, taken[filled:])
            at += fitted
    found = np.empty_like(placed)
    found[order] = placed
    return found


class _OpenRows:
    """Rows by the room that they have, those that came first to it first."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._rooms: list[int] = []  # that any row has, ascending
        self._rows: dict[int, deque[npt.NDArray[np.int32]]] = {}
        self._begun = 0

    def least_room(self, size: int) -> int:
        """The least room that is enough; a new row's where no row has it."""
        found = bisect_left(self._rooms, size)
        return self._rooms[found] if found < len(self._rooms) else self._length

    def take(self, room: int, most: int) -> npt.NDArray[np.int32]:
        """Up to `most` rows with this room, at least one."""
        if room == self._length:
            self._begun += most
            return np.arange(self._begun - most, self._begun, dtype=np.int32)
        waiting, taken, count = self._rows[room], [], 0
        while waiting and count < most:
            rows = waiting.popleft()
            if len(rows) > most - count:
                waiting.appendleft(rows[most - count :])
                rows = rows[: most - count]
            taken.append(rows)
            count += len(rows)
        if not waiting:
            del self._rows[room]
            del self._rooms[bisect_left(self._rooms, room)]
        return np.concatenate(taken)

    def put(self, room: int, rows: npt.NDArray[np.int32]) -> None:
        if not room or not len(rows):
            return
        if room not in self._rows:
            self._rows[room] = deque()
            insort(self._rooms, room)
        self._rows[room].append(rows)
