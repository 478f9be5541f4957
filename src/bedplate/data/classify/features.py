"""Texts as sparse rows of hashed n-grams, made for a whole batch at once.

Words are runs of letters, digits and marks; a sign of a script that is written without spaces is a word by itself. A
run's hash is a difference of prefix sums of a polynomial over its code points, in integers modulo 2^64, so that no text
is looked at twice however many lengths of runs there are. Values are 1 + log(count), as in Weinberger et al., "Feature
hashing for large scale multitask learning", 2009, without signs.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from bedplate.data.classify.config import Features

Words = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

_BASE = 0x9E3779B97F4A7C15 | 1
_INVERSE = pow(_BASE, -1, 1 << 64)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)
AT_ONCE = 1 << 18
"""Characters of the texts that are worked on together: about 10 MB of arrays."""

_UNSPACED = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF),
)  # fmt: skip
"""Thai, Lao, Burmese, Khmer, kana and Han: scripts without spaces between words (UAX #29)."""


@dataclass(frozen=True)
class Sparse:
    """Rows of features. row of feature i: rows[i], ascending; columns [n] int64 in [0, buckets), ascending within a row
    and all different; values [n] float32; count: rows, of which some may have no features."""

    rows: Rows
    columns: Rows
    values: npt.NDArray[np.float32]
    count: int


@cache
def _classes() -> npt.NDArray[np.uint8]:
    """Of each code point: 0 between words, 1 within words, 2 a word by itself."""
    kinds = np.fromiter(
        (unicodedata.category(chr(point))[0] in "LNM" for point in range(sys.maxunicode + 1)),
        dtype=np.uint8,
        count=sys.maxunicode + 1,
    )
    for first, last in _UNSPACED:
        kinds[first : last + 1] *= 2
    return kinds


@cache
def _powers(count: int) -> tuple[Words, Words]:
    """Powers of the base and of its inverse modulo 2^64, [count] each."""
    both = []
    for base in (_BASE, _INVERSE):
        powers = np.full(count, base, dtype=np.uint64)
        powers[0] = 1
        both.append(np.cumprod(powers, dtype=np.uint64))
    return both[0], both[1]


def _mixed(hashes: Words) -> Words:
    """Every bit of the result depends on every bit of the hash (the finaliser of Pelle Evensen's rrmxmx family)."""
    hashes = (hashes ^ (hashes >> _HALF)) * _MIX
    hashes = (hashes ^ (hashes >> _HALF)) * _MIX
    return hashes ^ (hashes >> _HALF)


def sparse_batches(texts: Sequence[str], features: Features) -> Iterator[tuple[int, Sparse]]:
    """The features of all texts, some texts at a time: (number of the first, their rows). A text's row doesn't depend
    on the texts beside it."""
    first, size = 0, 0
    cut: list[str] = []
    for text in texts:
        cut.append(text[: features.longest].lower()[: features.longest])
        size += len(cut[-1]) + 1
        if size >= AT_ONCE:
            yield first, _sparse(cut, features)
            first, size, cut = first + len(cut), 0, []
    if cut:
        yield first, _sparse(cut, features)


def _sparse(texts: Sequence[str], features: Features) -> Sparse:
    joined = "\n".join(["", *texts, ""])
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)
    ends = np.cumsum([len(text) + 1 for text in texts])
    kinds = _classes()[points]
    keys = [np.empty(0, dtype=np.uint64)]
    shift = np.uint64(64 - (features.buckets.bit_length() - 1))
    for hashes, places in _ngrams(points, kinds, features):
        rows = np.searchsorted(ends, places).astype(np.uint64)
        keys.append((rows << np.uint64(24)) | (_mixed(hashes) >> shift))
    ordered = np.sort(np.concatenate(keys))
    new = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    at = np.flatnonzero(new)
    counts = np.diff(at, append=len(ordered))
    kept = ordered[at]
    return Sparse(
        (kept >> np.uint64(24)).astype(np.int64),
        (kept & np.uint64((1 << 24) - 1)).astype(np.int64),
        _DAMPED[np.minimum(counts, len(_DAMPED) - 1)],
        len(texts),
    )


_DAMPED = (1 + np.log(np.maximum(np.arange(1 << 16), 1))).astype(np.float32)


def _ngrams(points: Rows, kinds: npt.NDArray[np.uint8], features: Features) -> Iterator[tuple[Words, Rows]]:
    """Hash and place of every n-gram: the place is a character of its text."""
    letter = kinds > 0
    if features.words:
        alone = kinds == 2
        begins = letter.copy()
        begins[1:] &= ~letter[:-1] | alone[1:] | alone[:-1]
        starts = np.flatnonzero(begins)
        # A word ends where the next begins, or with its last letter.
        gaps = np.flatnonzero(letter[:-1] & ~letter[1:]) + 1
        after = gaps[np.searchsorted(gaps, starts, side="right")] if len(starts) else starts
        stops = np.minimum(after, np.append(starts[1:], len(points)))
        words = _mixed(_run_hashes(_sums(points), starts, stops))
        yield from _word_ngrams(words, starts, np.cumsum(points == 10), features.words)
    if features.characters is not None:
        yield from _character_ngrams(points, letter, features.characters)


def _word_ngrams(words: Words, starts: Rows, lines: Rows, longest: int) -> Iterator[tuple[Words, Rows]]:
    """Runs of words, within a line: a run doesn't go from one text into the next."""
    line = lines[starts]
    hashes = words
    for n in range(1, longest + 1):
        if n > 1:
            hashes = _mixed(hashes[:-1]) + words[n - 1 :]
        inside = line[: len(hashes)] == line[n - 1 :] if n > 1 else slice(None)
        yield hashes[inside] + np.uint64(n), starts[: len(hashes)][inside]


def _character_ngrams(
    points: Rows, letter: npt.NDArray[np.bool_], lengths: tuple[int, int]
) -> Iterator[tuple[Words, Rows]]:
    """Runs of characters of a word with one space before and after it; no run has a space within."""
    kept = letter.copy()
    kept[1:] |= letter[:-1]  # one sign after each word
    kept[:1] = True
    places = np.flatnonzero(kept)
    squeezed = np.where(letter[places], points[places], 32)
    spaces = np.cumsum(squeezed == 32)
    sums = _sums(squeezed)
    for n in range(lengths[0], lengths[1] + 1):
        starts = np.arange(max(len(squeezed) - n + 1, 0))
        # Spaces among the characters between the first and the last.
        starts = starts[spaces[starts + n - 2] == spaces[starts]]
        yield _run_hashes(sums, starts, starts + n) + np.uint64(n << 8), places[starts + 1]


def _sums(points: Rows) -> Words:
    """Prefix sums of the polynomial: [count + 1]."""
    powers, _ = _powers(_rounded(len(points)))
    sums = np.zeros(len(points) + 1, dtype=np.uint64)
    np.cumsum(points.astype(np.uint64) * powers[: len(points)], out=sums[1:])
    return sums


def _run_hashes(sums: Words, starts: Rows, stops: Rows) -> Words:
    _, inverse = _powers(_rounded(len(sums) - 1))
    return (sums[stops] - sums[starts]) * inverse[starts]


def _rounded(count: int) -> int:
    """A power of two, so that few tables are made."""
    return max(1 << 19, 1 << max(count - 1, 1).bit_length())
