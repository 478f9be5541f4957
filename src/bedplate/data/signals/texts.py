"""`Texts`: a few documents laid end to end as arrays, so that what is measured of them is measured of all at once.

What a word is: a run of letters, digits, combining marks and underscores, with a full stop or an apostrophe between two
of them, or one of `,:/-` between two digits: `don't`, `3.5`, `example.com`, `10:30` (Unicode's UAX #29, simplified).
In scripts that are written without spaces (Han, kana, Thai, Lao, Khmer, Myanmar) every character is a word, with the
marks that combine with it. Any other character that isn't white space is a mark, and equal marks in a row are one:
`...`, `--`. N-grams are of words and marks.

A line ends with a line feed, and is taken without the white space around it; blank ones don't count. A paragraph is a
run of lines between blank ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bedplate.data.signals import characters
from bedplate.data.signals.hashing import Hashes, Ints, Slices

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Spans:
    """Stretches of characters in order, none across documents. starts, ends int64 [S]; `bounds` int64 [documents + 1]:
    those of document d are bounds[d] up to bounds[d + 1]."""

    def __init__(self, starts: Ints, ends: Ints, documents: Ints) -> None:
        self.starts = starts
        self.ends = ends
        self.bounds: Ints = np.searchsorted(starts, documents)

    def __len__(self) -> int:
        return len(self.starts)

    @cached_property
    def lengths(self) -> Ints:
        return self.ends - self.starts

    @cached_property
    def counts(self) -> Ints:
        """How many each document has [documents]."""
        return np.diff(self.bounds)

    @cached_property
    def documents(self) -> Ints:
        """The document of each [S]."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def count(self, mask: Bools) -> Ints:
        """How many of each document's are marked [documents]; mask [S]."""
        return sums(mask, self.bounds)


class Texts:
    """The arrays of some documents' texts. Every document is followed by a line feed, so that nothing runs across."""

    def __init__(self, texts: Sequence[str]) -> None:
        data = "\n".join([*texts, ""]).encode("utf-32-le", "surrogatepass")
        self.codes: NDArray[np.uint32] = np.frombuffer(data, dtype=np.uint32)
        self.lengths: Ints = np.array([len(text) for text in texts], dtype=np.int64)
        self.documents: Ints = np.concatenate(([0], np.cumsum(self.lengths + 1)))
        """Where each begins, and the end [documents + 1]."""
        self.bits: NDArray[np.uint16] = characters.table()[self.codes]

    def has(self, bit: int) -> Bools:
        """The characters with one of those bits [characters]."""
        return (self.bits & np.uint16(bit)) != 0

    def count(self, mask: Bools) -> Ints:
        """How many characters of each document are marked [documents]; the line feed behind it isn't looked at."""
        starts, ends = self.documents[:-1].tolist(), (self.documents[1:] - 1).tolist()
        return np.array([np.count_nonzero(mask[start:end]) for start, end in zip(starts, ends, strict=True)], np.int64)

    @cached_property
    def hashes(self) -> Slices:
        return Slices(self.codes + np.uint32(1))

    @cached_property
    def spaces(self) -> Bools:
        return self.has(characters.SPACE)

    @cached_property
    def tokens(self) -> Spans:
        """Words and marks."""
        return self._tokens[0]

    @cached_property
    def words(self) -> Bools:
        """Which of the tokens are words [tokens]."""
        return self._tokens[1]

    @cached_property
    def _tokens(self) -> tuple[Spans, Bools]:
        codes, bits = self.codes, self.bits
        word, alone = self.has(characters.WORD), self.has(characters.ALONE)
        inside = np.flatnonzero(self.has(characters.JOINING | characters.BETWEEN_DIGITS))
        inside = inside[(inside > 0) & (inside < len(codes) - 1)]
        before, after = bits[inside - 1], bits[inside + 1]
        numeric = bits[inside] & characters.BETWEEN_DIGITS != 0
        kind = np.where(numeric, np.uint16(characters.DIGIT), np.uint16(characters.WORD))
        word[inside[(before & kind != 0) & (after & kind != 0) & ((before | after) & characters.ALONE == 0)]] = True
        begins = ~self.spaces
        goes_on = word[1:] & word[:-1] & ~alone[1:]
        goes_on &= ~alone[:-1] | self.has(characters.COMBINING)[1:]
        goes_on |= (codes[1:] == codes[:-1]) & ~word[1:]
        begins[1:] &= ~goes_on
        starts = np.flatnonzero(begins)
        stops = begins | self.spaces
        ends = np.flatnonzero(~self.spaces[:-1] & stops[1:]) + 1
        return Spans(starts, ends, self.documents), word[starts]

    @cached_property
    def token_hashes(self) -> Hashes:
        return self.hashes(self.tokens.starts, self.tokens.ends)

    @cached_property
    def stretches(self) -> Spans:
        """What lies between white space."""
        edges = np.flatnonzero(np.diff(self.spaces, prepend=True))
        return Spans(edges[::2], edges[1::2], self.documents)

    @cached_property
    def _raw_lines(self) -> tuple[Ints, Ints, Ints]:
        """Of all lines, blank ones too: where the line feed is, the first stretch and the one after the last."""
        feeds = np.flatnonzero(self.codes == ord("\n"))
        after = np.searchsorted(self.stretches.starts, feeds)
        return feeds, np.concatenate(([0], after[:-1])), after

    @cached_property
    def line_stretches(self) -> tuple[Ints, Ints]:
        """Of each line, its first stretch and the one after its last [lines] each."""
        _, first, after = self._raw_lines
        filled = after > first
        return first[filled], after[filled]

    @cached_property
    def lines(self) -> Spans:
        """Lines that aren't blank."""
        first, after = self.line_stretches
        return Spans(self.stretches.starts[first], self.stretches.ends[after - 1], self.documents)

    @cached_property
    def line_numbers(self) -> Ints:
        """Of each line, its place among all lines of all documents, blank ones too [lines]."""
        _, first, after = self._raw_lines
        return np.flatnonzero(after > first)

    @cached_property
    def first_lines(self) -> Ints:
        """The place of each document's first line among all lines, blank ones too [documents]."""
        return np.searchsorted(self._raw_lines[0], self.documents[:-1])

    @cached_property
    def paragraphs(self) -> tuple[Ints, Ints]:
        """Of each paragraph, its first line and the one after its last [paragraphs] each."""
        numbers = self.line_numbers
        new = np.ones(len(numbers), dtype=np.bool_)
        new[1:] = (np.diff(numbers) > 1) | (np.diff(self.lines.documents) > 0)
        first = np.flatnonzero(new)
        return first, np.append(first[1:], len(numbers)) if len(first) else first


def sums(values: NDArray[np.bool_] | Ints, bounds: Ints) -> Ints:
    """The sum of each document's values, int64 [documents]; values [V] by document, bounds [documents + 1]."""
    total = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=total[1:])
    return np.diff(total[bounds])


def share(part: Ints | Floats, whole: Ints) -> Floats:
    """part / whole, 0 where whole is 0."""
    return np.where(whole > 0, part / np.maximum(whole, 1), 0.0)
