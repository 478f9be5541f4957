"""How much of a text repeats itself: lines, paragraphs, n-grams (Gopher: Rae et al. 2021, arXiv 2112.11446, table A1).

Copies are found by sorting hashes of all documents at once. An n-gram can only come again where its first n - 1 words
do, so each length looks only at what repeated at the one before, and the last ones at next to nothing.

Of duplicate n-grams every character is counted once that lies in an n-gram which stood earlier in the document; the
paper asks for that, where a scan that jumps over each copy misses what is left at a passage's end. The most common
n-gram counts where it comes at least twice; of several equally common ones, the longest.
"""

from __future__ import annotations

import numpy as np

from bedplate.data.signals.columns import DUPLICATE_NGRAMS, TOP_NGRAMS
from bedplate.data.signals.hashing import Hashes, Ints, Slices, mix
from bedplate.data.signals.texts import Bools, Floats, Spans, Texts, share, sums

_STEP = np.uint64(0xD1342543DE82EF95)


def repetition(texts: Texts) -> dict[str, Ints | Floats]:
    """The columns of the family `repetition`: {column: [documents]}."""
    return lines(texts) | _paragraphs(texts) | _ngrams(texts)


def visible_characters(texts: Texts) -> Ints:
    """Characters of each document that aren't line feeds [documents]."""
    return texts.lengths - texts.count(texts.codes == ord("\n"))


def lines(texts: Texts) -> dict[str, Ints | Floats]:
    """Lines, and what part of them came before."""
    spans = texts.lines
    again = _later_copies(texts.hashes(spans.starts, spans.ends), spans.documents)
    return {
        "lines": spans.counts,
        "duplicate_line_fraction": share(spans.count(again), spans.counts),
        "duplicate_line_character_fraction": share(
            sums(spans.lengths * again, spans.bounds), visible_characters(texts)
        ),
    }


def _paragraphs(texts: Texts) -> dict[str, Ints | Floats]:
    spans = texts.lines
    first, after = texts.paragraphs
    bounds = np.searchsorted(first, spans.bounds)
    counts = np.diff(bounds)
    hashes = Slices(texts.hashes(spans.starts, spans.ends))(first, after)
    again = _later_copies(hashes, spans.documents[first])
    total = np.concatenate(([0], np.cumsum(spans.lengths)))
    lengths = total[after] - total[first]
    return {
        "paragraphs": counts,
        "duplicate_paragraph_fraction": share(sums(again, bounds), counts),
        "duplicate_paragraph_character_fraction": share(sums(lengths * again, bounds), visible_characters(texts)),
    }


def _ngrams(texts: Texts) -> dict[str, Ints | Floats]:
    tokens = texts.tokens
    documents = len(tokens.counts)
    columns: dict[str, Ints | Floats] = {}
    letters = np.concatenate(([0], np.cumsum(tokens.lengths)))
    at: Ints = np.arange(len(tokens))
    last: Ints = np.repeat(tokens.bounds[1:], tokens.counts)  # the first token beyond the document
    grams = _of_document(texts.token_hashes, tokens.documents)
    for n in range(2, DUPLICATE_NGRAMS[-1] + 1):
        inside = at + n <= last
        at, last, grams = at[inside], last[inside], grams[inside]
        grams = mix(grams * _STEP + texts.token_hashes[at + (n - 1)])
        order, begins = _groups(grams)
        counts = np.diff(begins, append=len(order))
        repeated = counts > 1
        if n in TOP_NGRAMS:
            one = at[order[begins[repeated]]]
            lengths = letters[one + n] - letters[one] + (n - 1)
            best = np.zeros(documents, dtype=np.int64)
            np.maximum.at(best, tokens.documents[one], counts[repeated] << 32 | lengths)
            covered = (best >> 32) * (best & 0xFFFFFFFF)
            columns[f"top_{n}_gram_character_fraction"] = np.minimum(share(covered, texts.lengths), 1.0)
        if n in DUPLICATE_NGRAMS:
            copies = at[_not_first(order, begins)]
            columns[f"duplicate_{n}_gram_character_fraction"] = share(_covered(tokens, copies, n), texts.lengths)
        survivors = np.sort(order[np.repeat(repeated, counts)])
        at, last, grams = at[survivors], last[survivors], grams[survivors]
    return columns


def _covered(tokens: Spans, at: Ints, n: int) -> Ints:
    """The characters of each document's tokens that lie in one of the n-grams at `at`."""
    if not len(at):
        return np.zeros(len(tokens.counts), dtype=np.int64)
    edges = np.zeros(len(tokens) + 1, dtype=np.int8)
    edges[at] += 1
    edges[at + n] -= 1
    return sums(tokens.lengths * (np.cumsum(edges[:-1]) > 0), tokens.bounds)


def _of_document(hashes: Hashes, documents: Ints) -> Hashes:
    """The same hashes, but equal only within a document."""
    return mix(hashes + mix(documents.astype(np.uint64)))


def _groups(keys: Hashes) -> tuple[Ints, Ints]:
    """The order that brings equal keys together, and where in it each group begins."""
    order = np.argsort(keys)
    ordered = keys[order]
    return order, np.flatnonzero(np.concatenate(([len(keys) > 0], ordered[1:] != ordered[:-1])))


def _not_first(order: Ints, begins: Ints) -> Bools:
    """Which keys have an equal one before them [keys]."""
    later = np.ones(len(order), dtype=np.bool_)
    if len(order):
        later[np.minimum.reduceat(order, begins)] = False
    return later


def _later_copies(hashes: Hashes, documents: Ints) -> Bools:
    return _not_first(*_groups(_of_document(hashes, documents)))
