"""The held-out documents that an evaluation scores: one fixed sample, the same for the model and every baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bedplate.config.randomness import fold_in
from bedplate.data.best_fit import BestFitRows
from bedplate.data.corpus import read_corpus
from bedplate.data.packing import PackedRows
from bedplate.data.tokens import TokenSet
from bedplate.errors import ArtefactError, InputError
from bedplate.ledger.artefact import Artefact

SPLIT = "validation"
ROWS_AT_ONCE = 4096

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class HeldOut:
    """A sample of the validation split. tokens: BOS t1 .. tn END of each document; bytes [documents]: UTF-8."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    tokens: tuple[Ints, ...]
    bytes: NDArray[np.float64]
    available: int
    available_bytes: int

    @property
    def whole(self) -> bool:
        return len(self.ids) == self.available

    def describe(self) -> str:
        """One sentence on what was scored, for the report."""
        scored = f"{len(self.ids):,} held-out documents ({int(self.bytes.sum()):,} bytes of text)"
        if self.whole:
            return f"Scored on all {scored}."
        return (
            f"Scored on {scored} of {self.available:,} ({self.available_bytes:,} bytes): taken in an order fixed by "
            "the seed, passing over those that no longer fitted into max_bytes, so very long documents are "
            "under-represented."
        )


def sample_held_out(tokens: TokenSet, corpus: Artefact, *, max_bytes: int | None, seed: int) -> HeldOut:
    """Validation documents in an order that depends on seed and id alone, each taken if it still fits into `max_bytes`.

    At least one is taken. Raises InputError for an empty validation split, ArtefactError, naming both, where corpus and
    tokens don't hold the same documents.
    """
    ids, sizes = tokens.ids(SPLIT), tokens.bytes(SPLIT)
    if not ids:
        raise InputError(
            f"{tokens.folder}: the validation split has no documents, so there is nothing to evaluate on",
            "Raise the validation share of the curate stage, or give it more documents.",
        )
    chosen = _choose(ids, sizes, max_bytes, seed)
    texts = _texts(corpus, [ids[i] for i in chosen], tokens)
    for i, text in zip(chosen, texts, strict=True):
        if len(text.encode("utf-8")) != sizes[i]:
            raise ArtefactError(f"document {ids[i]}: another text in {corpus.path} than in {tokens.folder}", _MISMATCH)
    edge = np.array([tokens.boundary_id])
    return HeldOut(
        ids=tuple(ids[i] for i in chosen),
        texts=tuple(texts),
        tokens=tuple(np.concatenate([edge, tokens.document(SPLIT, i).astype(np.int64), edge]) for i in chosen),
        bytes=np.array([sizes[i] for i in chosen], dtype=np.float64),
        available=len(ids),
        available_bytes=int(sizes.sum()),
    )


_MISMATCH = "Give the corpus that these tokens were made from."


def _choose(ids: Sequence[str], sizes: Ints, max_bytes: int | None, seed: int) -> list[int]:
    order = sorted(range(len(ids)), key=lambda i: fold_in(seed, "held-out", ids[i]))
    if max_bytes is None:
        return order
    chosen, total = [], 0
    for i in order:
        if total + sizes[i] <= max_bytes:
            chosen.append(i)
            total += int(sizes[i])
    return chosen or [min(order, key=lambda i: sizes[i])]


def _texts(corpus: Artefact, wanted: Sequence[str], tokens: TokenSet) -> list[str]:
    found: dict[str, str] = {}
    keep = set(wanted)
    for part in read_corpus(corpus, ["id", "text"], SPLIT):
        found |= {key: text for key, text in zip(part["id"], part["text"], strict=True) if key in keep}
    missing = [key for key in wanted if key not in found]
    if missing:
        raise ArtefactError(
            f"{corpus.path}: no held-out document {missing[0]} ({len(missing)} missing), which {tokens.folder} holds",
            _MISMATCH,
        )
    return [found[key] for key in wanted]


def training_documents(tokens: TokenSet, limit: int | None) -> Iterator[Ints]:
    """Training documents as BOS t1 .. tn END, in the artefact's order, until `limit` tokens are reached."""
    edge = np.array([tokens.boundary_id])
    total = 0
    for i in range(tokens.documents("train").distinct):
        if limit is not None and total >= limit:
            break
        document = tokens.document("train", i)
        yield np.concatenate([edge, document.astype(np.int64), edge])
        total += len(document) + 1


def documents_seen(rows: PackedRows | BestFitRows, count: int, boundary: int, limit: int | None) -> Iterator[Ints]:
    """What the first `count` training rows show, as documents BOS t1 .. tn END or the parts of one that were seen.

    Rows that follow each other in the stream are joined again. A second look at a document adds nothing: what lies
    beyond the first epoch is left out, as counting a text twice only misleads Kneser-Ney. `limit` bounds the number of
    targets, up to whole rows.
    """
    count = min(count, rows.rows_per_epoch, count if limit is None else -(-limit // rows.length))
    if not count:
        return
    if isinstance(rows, BestFitRows):
        yield from _pieces_seen(rows, count)
        return
    parts = [rows.rows(first, min(ROWS_AT_ONCE, count - first)) for first in range(0, count, ROWS_AT_ONCE)]
    places = np.array([rows.place(row) for row in range(count)])
    order = np.argsort(places)
    stream, following = (np.concatenate([p[key] for p in parts])[order] for key in ("tokens", "targets"))
    begins = stream == boundary
    begins[:, 0] |= np.diff(places[order], prepend=-2) != 1
    size = min(stream.size, stream.size + rows.pairs_per_epoch - (int(places.max()) + 1) * rows.length)
    starts = np.flatnonzero(begins.reshape(-1)[:size])
    ends = np.append(starts[1:], size)
    flat, after = stream.reshape(-1), following.reshape(-1)
    for a, b in zip(starts, ends, strict=True):
        yield np.append(flat[a:b], after[b - 1])


def _pieces_seen(rows: BestFitRows, count: int) -> Iterator[Ints]:
    """The documents, and pieces of long ones, in the first rows that are packed by best fit."""
    for first in range(0, count, ROWS_AT_ONCE):
        part = rows.rows(first, min(ROWS_AT_ONCE, count - first))
        for inputs, targets, segments, keep in zip(
            *(part[name] for name in ("tokens", "targets", "segments", "keep")), strict=True
        ):
            edges = np.append(np.flatnonzero(np.diff(segments, prepend=-1)), len(segments))
            for a, b in pairwise(edges):
                if keep[a]:
                    yield np.append(inputs[a:b], targets[b - 1])
