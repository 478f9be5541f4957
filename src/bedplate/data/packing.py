"""Rows of packed documents: which token is at which place of which row, computed and never stored.

A document of tokens t1..tn gives the n + 1 pairs (input, target) of [BOS] t1..tn -> t1..tn [EOS], where BOS and EOS are
the one boundary token. An epoch is all documents' pairs, one document after another; a row is `length` pairs in
succession, and rows come in a shuffled order, so that a batch is many documents and not a stretch of one. Every pair is
seen once an epoch: nothing is padded, truncated or dropped. Documents don't see each other: `segments` says which pairs
of a row belong together.

Of a net that sees both sides of a token, documents are laid out as its tokenizer puts them instead, with what stands
around a text as inputs of their own: [CLS] t1..tn [SEP], whose targets are the inputs themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bedplate.config import fold_in
from bedplate.data.tokens import DocumentTable, TokenSet
from bedplate.errors import InputError

Ids = npt.NDArray[np.int64]
Rows = dict[str, np.ndarray]
Around = tuple[Sequence[int], Sequence[int]]
"""Ids that stand before a document and after it, as `TextTokenizer.around` has them."""


class PackedRows:
    """The endless stream of training rows: epoch after epoch, the documents of each in an order of its own, its rows
    shuffled. Documents that are in phases (a curriculum) come phase after phase, in each epoch, shuffled within each.

    Row r is a pure function of (tokens, length, seed, r): however a batch is cut into ranks or micro-batches, and
    wherever a run resumes, the global order is the same. Rows run on from one epoch into the next. around: what stands
    around each document, where inputs are to be whole texts and not next-token pairs; "pairs" below are inputs then.
    """

    def __init__(self, tokens: TokenSet, split: str, length: int, seed: int, *, around: Around | None = None) -> None:
        self._source = PairSource(tokens, split, around)
        self.length = check_length(length)
        self.seed = seed
        self.pairs_per_epoch: int = self._source.total
        self.rows_per_epoch: int = -(-self.pairs_per_epoch // self.length)
        """Rows that are shuffled among each other: an epoch's, with what the last one takes from the next epoch."""
        self._phase_rows = self._source.phase_rows(self.length)
        self._order = lru_cache(maxsize=2)(self._make_order)  # a row may touch two epochs
        self._shuffle = lru_cache(maxsize=2)(self._make_shuffle)  # and a batch two shuffles

    def rows(self, first: int, count: int) -> Rows:
        """Rows [first, first + count).

        Returns tokens, targets, segments, positions int64 [count, length] and keep bool [count, length], all true.
        Segments number a row's documents from 0; positions count from 0 in every segment.
        """
        check_rows(first, count)
        parts = [part for row in range(first, first + count) for part in self._row(self.place(row))]
        return as_rows(joined(parts), count, self.length)

    def place(self, row: int) -> int:
        """Where row `row` lies in the unshuffled stream, counted in rows."""
        epoch, within = divmod(row, self.rows_per_epoch)
        return epoch * self.rows_per_epoch + int(self._shuffle(epoch)[within])

    def rows_with(self, document: int, epoch: int) -> Ids:
        """The rows, ascending int64, that hold any pair of entry `document` of the split's table in one epoch of the
        documents. Computed from the orders alone: no token is read."""
        order = self._order(epoch)
        end = epoch * self.pairs_per_epoch + int(order.ends[np.flatnonzero(order.documents == document)[0]])
        begin = end - int(self._source.sizes[document])
        if begin == end:
            return np.empty(0, dtype=np.int64)
        places = np.arange(begin // self.length, (end - 1) // self.length + 1)
        rows = [
            shuffle * self.rows_per_epoch + np.flatnonzero(np.isin(self._shuffle(shuffle), within))
            for shuffle in np.unique(places // self.rows_per_epoch).tolist()
            for within in [places[places // self.rows_per_epoch == shuffle] % self.rows_per_epoch]
        ]
        return np.concatenate(rows)

    def _row(self, place: int) -> Iterator[Pairs]:
        at, end = place * self.length, (place + 1) * self.length
        passed = 0  # documents before the epoch, so that one document's two appearances are two documents
        while at < end:
            epoch, within = divmod(at, self.pairs_per_epoch)
            take = min(end - at, self.pairs_per_epoch - within)
            pairs = self._source.pairs(self._order(epoch), within, take)
            yield Pairs(pairs.inputs, pairs.targets, pairs.ordinal + passed)
            passed += self._source.documents
            at += take

    def _make_shuffle(self, epoch: int) -> Ids:
        return shuffled_rows(self._phase_rows or [0, self.rows_per_epoch], self.seed, epoch)

    def _make_order(self, epoch: int) -> _Order:
        drawn = shuffled(self._source.documents, fold_in(self.seed, "epoch", epoch))
        phase = self._source.phase
        return self._source.order(drawn if phase is None else drawn[np.argsort(phase[drawn], kind="stable")])


class EvaluationRows:
    """One pass over the documents of a split, always in the same order; the last row is padded with `keep` false.

    most_pairs bounds the pass to a fixed sample of whole documents: the first of a fixed shuffle whose pairs fit (at
    least one document). None takes all, in the artefact's order. around: as `PackedRows` has it.
    """

    def __init__(
        self,
        tokens: TokenSet,
        split: str,
        length: int,
        *,
        most_pairs: int | None = None,
        around: Around | None = None,
    ) -> None:
        self._source = PairSource(tokens, split, around)
        self._boundary = tokens.boundary_id
        self.length = check_length(length)
        chosen = np.arange(self._source.documents, dtype=np.int64)
        if most_pairs is not None:
            drawn = shuffled(self._source.documents, fold_in(0, "evaluation sample"))
            fitting = int(np.searchsorted(np.cumsum(self._source.sizes[drawn]), most_pairs, side="right"))
            chosen = np.sort(drawn[: max(fitting, 1)])
        self._order = self._source.order(chosen)
        self.documents: int = len(chosen)
        self.pairs: int = int(self._order.ends[-1])
        """(input, target) pairs in the pass: the places where `keep` is true."""
        self.bytes: int = int(tokens.bytes(split)[chosen].sum())
        """UTF-8 bytes of the documents' texts: the denominator of bits per byte."""
        self.count: int = -(-self.pairs // self.length)
        """Rows in the pass."""

    def rows(self, first: int, count: int) -> Rows:
        """Rows [first, first + count), as `PackedRows.rows`; fewer at the end of the pass."""
        check_rows(first, count)
        count = min(count, self.count - first)
        if count <= 0:
            raise InputError(f"evaluation row {first} of {self.count}", "Ask for rows below `count`.")
        at = first * self.length
        pairs = self._source.pairs(self._order, at, min(count * self.length, self.pairs - at))
        missing = count * self.length - len(pairs.inputs)
        if not missing:
            return as_rows(pairs, count, self.length)
        filler = np.full(missing, self._boundary, dtype=np.int64)
        padding = Pairs(filler, filler, np.full(missing, self.documents, dtype=np.int64))
        rows = as_rows(joined([pairs, padding]), count, self.length)
        rows["keep"].reshape(-1)[-missing:] = False
        return rows


@dataclass(frozen=True)
class _Order:
    """Documents in the order of a pass, and where the pairs of each end in it, int64 [documents]."""

    documents: Ids
    ends: Ids


@dataclass(frozen=True)
class Pairs:
    """A stretch of pairs, int64 [N] each; `ordinal` numbers documents in the order of the pass."""

    inputs: Ids
    targets: Ids
    ordinal: Ids


class PairSource:
    """The pairs of a split's documents, or with `around` their inputs, found by their place in a given order."""

    def __init__(self, tokens: TokenSet, split: str, around: Around | None) -> None:
        self._tokens, self._split = tokens, split
        self._table: DocumentTable = tokens.documents(split)
        self.documents = len(self._table)
        if self.documents == 0:
            raise InputError(f"{tokens.folder}: no documents in the {split} split", "Give the corpus more documents.")
        self.phase = self._table.phase
        self._around = None if around is None else tuple(np.array(ids, dtype=np.int64) for ids in around)
        self.sizes: Ids = self._table.length + (1 if self._around is None else sum(map(len, self._around)))
        self.total = int(self.sizes.sum())
        if self.total == 0:
            raise InputError(f"{tokens.folder}: no tokens in the {split} split", "Give the corpus more documents.")

    def phase_rows(self, length: int) -> list[int] | None:
        """The rows at which the phases of an epoch begin, and its end; None where there are no phases. A row that two
        share is the earlier one's."""
        if self.phase is None:
            return None
        ends = np.cumsum(np.bincount(self.phase, weights=self.sizes).astype(np.int64))
        return [0, *(-(-ends // length)).tolist()]

    def order(self, documents: npt.NDArray[np.integer]) -> _Order:
        return _Order(documents.astype(np.int64), np.cumsum(self.sizes[documents]))

    def pairs(self, order: _Order, at: int, count: int) -> Pairs:
        """Pairs [at, at + count) of the pass."""
        first, last = np.searchsorted(order.ends, (at, at + count - 1), side="right")
        number = order.documents[first : last + 1]
        size = self.sizes[number]
        begins = order.ends[first : last + 1] - size
        taken = np.minimum(begins + size, at + count) - np.maximum(begins, at)
        found = self.pieces(number, np.maximum(at - begins, 0), taken)
        return Pairs(found.inputs, found.targets, found.ordinal + first)

    def pieces(self, number: Ids, skipped: Ids, taken: Ids) -> Pairs:
        """Of each document `number` its pairs [skipped, skipped + taken), one piece after another; `ordinal` numbers
        the pieces."""
        ordinal = np.repeat(np.arange(len(number)), taken)
        starts = np.cumsum(taken) - taken
        place = np.arange(len(ordinal)) - (starts - skipped)[ordinal]  # of a pair in its document: 0 has BOS as input
        row = number[ordinal]
        if self._around is not None:
            whole = self._laid_out(row, place, *self._around)
            return Pairs(whole, whole, ordinal)

        # A pair's target is the next pair's input, so each token is fetched once: as a target.
        targets = np.full(len(ordinal), self._tokens.boundary_id, dtype=np.int64)
        inner = place < self._table.length[row]
        targets[inner] = self._fetch(row[inner], place[inner])
        inputs = np.empty_like(targets)
        inputs[1:] = targets[:-1]
        inputs[place == 0] = self._tokens.boundary_id
        cut = np.flatnonzero((skipped > 0) & (taken > 0))
        inputs[starts[cut]] = self._fetch(number[cut], skipped[cut] - 1)
        return Pairs(inputs, targets, ordinal)

    def _laid_out(self, row: Ids, place: Ids, before: Ids, after: Ids) -> Ids:
        """The tokens at these places of documents with what stands around each."""
        inner = place - len(before)
        behind = inner - self._table.length[row]
        text = (inner >= 0) & (behind < 0)
        whole = np.empty_like(place)
        whole[inner < 0] = before[place[inner < 0]]
        whole[text] = self._fetch(row[text], inner[text])
        whole[behind >= 0] = after[behind[behind >= 0]]
        return whole

    def _fetch(self, row: Ids, place: Ids) -> Ids:
        table = self._table
        if not len(row):
            return np.empty(0, dtype=np.int64)
        return self._tokens.gather(self._split, table.shard[row], table.start[row] + place)


def shuffled(count: int, seed: int) -> Ids:
    """The numbers below `count` in random order. By sorting raw random words, because numpy keeps its bit generators'
    streams stable for ever and the algorithm of its `permutation` not (NEP 19)."""
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable").astype(np.int64)


def shuffled_rows(bounds: list[int], seed: int, epoch: int) -> Ids:
    """The rows of an epoch in random order, but phase after phase. bounds: where each phase begins, and the end."""
    if len(bounds) == 2:
        return shuffled(bounds[1], fold_in(seed, "rows", epoch))
    parts = [
        first + shuffled(end - first, fold_in(seed, "rows", epoch, phase))
        for phase, (first, end) in enumerate(pairwise(bounds))
    ]
    return np.concatenate(parts)


def joined(parts: list[Pairs]) -> Pairs:
    if len(parts) == 1:
        return parts[0]
    return Pairs(
        np.concatenate([p.inputs for p in parts]),
        np.concatenate([p.targets for p in parts]),
        np.concatenate([p.ordinal for p in parts]),
    )


def as_rows(pairs: Pairs, count: int, length: int) -> Rows:
    shape = (count, length)
    ordinal = pairs.ordinal.reshape(shape)
    column = np.arange(length)
    starts = np.ones(shape, dtype=bool)
    starts[:, 1:] = ordinal[:, 1:] != ordinal[:, :-1]
    return {
        "tokens": pairs.inputs.reshape(shape),
        "targets": pairs.targets.reshape(shape),
        "segments": np.cumsum(starts, axis=1, dtype=np.int64) - 1,
        "positions": column - np.maximum.accumulate(np.where(starts, column, 0), axis=1),
        "keep": np.ones(shape, dtype=bool),
    }


def check_length(length: int) -> int:
    if length < 1:
        raise InputError(f"a row length of {length}", "Use a length of at least 1.")
    return length


def check_rows(first: int, count: int) -> None:
    if first < 0 or count < 1:
        raise InputError(f"rows {first} to {first + count}", "Ask for at least one row, from 0 on.")
