"""The words of texts as numbers, with their places: in blocks, so that one long document needs no more than many short.

A word is what stands between separators, or one character of a script that is written without spaces, or 256
characters of what has no separator for longer. Each has a 64-bit hash: the sum of a random number for each byte times
a random odd number for its place (multilinear hashing: Lemire and Kaser 2014, arXiv 1202.4961), mixed at the end.
Several words have the hash that `ngrams` puts together out of theirs.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from bedplate.config import fold_in

Numbers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]

LONGEST = 256
"""Characters of a word: what is longer counts as several."""
BLOCK = 1 << 18
"""Bytes of text at a time."""

_CODES = 0x32000  # of what lies beyond, everything is part of a word
_SEPARATOR, _PART, _ALONE = 0, 1, 2
# From the first CJK radicals on scripts set no spaces (Korean does: there a syllable counts as a word all the same).
_SPACELESS = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x2E80, 0xD7FF),
    (0xF900, 0xFAFF),
    (0x20000, _CODES),
)


@dataclass(frozen=True)
class Words:
    """Consecutive words of consecutive documents, W of them.

    hashes [W, S] uint64, one for each salt; document [W], the caller's number for it; place [W], the word's number in
    its document; start and end [W], in bytes of the document.
    """

    hashes: list[Hashes]
    document: Numbers
    place: Numbers
    start: Numbers
    end: Numbers

    def __len__(self) -> int:
        return len(self.place)

    def part(self, first: int, last: int) -> Words:
        """Those from `first` up to `last`."""
        here = slice(first, last)
        return Words(
            [hashes[here] for hashes in self.hashes],
            *(self.document[here], self.place[here], self.start[here], self.end[here]),
        )

    def follow(self, other: Words) -> Words:
        """These and then the others."""
        return Words(
            [np.concatenate(both) for both in zip(self.hashes, other.hashes, strict=True)],
            np.concatenate((self.document, other.document)),
            np.concatenate((self.place, other.place)),
            np.concatenate((self.start, other.start)),
            np.concatenate((self.end, other.end)),
        )


class WordReader:
    """Cuts texts into words. rule: "spaces" (white space separates, all else counts) or "letters" (everything
    separates but letters, digits and marks). salts: one hash for each."""

    def __init__(self, rule: str, salts: tuple[str, ...] = ("words",)) -> None:
        self._kinds = _kinds(rule)
        self._first = self._kinds[:256].copy()
        self._first[0x80:] = _PART
        self._salts = salts

    def read(self, documents: Iterable[tuple[int, bytes | memoryview]]) -> Iterator[Words]:
        """The words of documents (number, UTF-8), about BLOCK bytes at a time. Numbers only go up."""
        gathered: list[tuple[int, Bytes]] = []
        size = 0
        for number, text in documents:
            data = np.frombuffer(text, dtype=np.uint8)
            if len(data) > BLOCK:
                if gathered:
                    yield self._short(gathered)
                    gathered, size = [], 0
                yield from self._long(number, data)
                continue
            if size + len(data) > BLOCK:
                yield self._short(gathered)
                gathered, size = [], 0
            gathered.append((number, data))
            size += len(data) + 1
        if gathered:
            yield self._short(gathered)

    def around(
        self, documents: Iterable[tuple[int, bytes | memoryview]], reach: int
    ) -> Iterator[tuple[Words, int, int]]:
        """As `read`, each block with words before and after it: (words, first, last). Every word is once within
        [first, last), and there with the `reach` words before and after it, as far as there are such."""
        held: Words | None = None
        first = 0
        for block in self.read(documents):
            held = block if held is None else held.follow(block)
            last = len(held) - reach
            if last > first:
                yield held, first, last
                keep = max(last - reach, 0)
                held, first = held.part(keep, len(held)), last - keep
        if held is not None and len(held) > first:
            yield held, first, len(held)

    def _short(self, documents: list[tuple[int, Bytes]]) -> Words:
        """The words of whole documents."""
        gap = np.full(1, ord(" "), dtype=np.uint8)
        sizes = np.array([len(data) for _, data in documents], dtype=np.int64)
        begins = np.cumsum(sizes + 1) - sizes - 1
        hashes, start, end = self._cut(np.concatenate([part for _, data in documents for part in (data, gap)]))
        which = np.searchsorted(begins, start, side="right") - 1
        numbers = np.array([number for number, _ in documents], dtype=np.int64)
        earlier = np.searchsorted(which, np.arange(len(documents)))
        place = np.arange(len(start)) - earlier[which]
        return Words(hashes, numbers[which], place, start - begins[which], end - begins[which])

    def _long(self, number: int, data: Bytes) -> Iterator[Words]:
        """The words of one document, block after block. A block's last word may go on, so it begins the next."""
        offset = before = 0
        while offset < len(data):
            block = data[offset : offset + BLOCK]
            hashes, start, end = self._cut(block)
            # A word from end to end of a block can only be of bytes that aren't UTF-8: it counts as it is.
            goes_on = offset + len(block) < len(data) and len(start) > 0 and int(start[-1]) > 0
            count = len(start) - goes_on
            words = Words(
                [found[:count] for found in hashes],
                np.full(count, number, dtype=np.int64),
                np.arange(before, before + count),
                start[:count] + offset,
                end[:count] + offset,
            )
            offset += int(start[-1]) if goes_on else len(block)
            before += count
            if count:
                yield words

    def _cut(self, data: Bytes) -> tuple[list[Hashes], Numbers, Numbers]:
        """Hashes, starts and ends of the words of some bytes."""
        kinds = self._first[data]
        begins = self._foreign(data, kinds)
        inside = kinds > 0
        first = inside.copy()
        first[1:] &= ~inside[:-1]
        if begins is not None:
            first[begins[inside[begins]]] = True
        start = np.flatnonzero(first)
        if not len(start):
            nothing = np.empty(0, dtype=np.int64)
            return [np.empty(0, dtype=np.uint64) for _ in self._salts], nothing, nothing
        length = _lengths(inside, start)
        if int(length.max()) > LONGEST:
            start = _shortened(data, start, length)
            length = _lengths(inside, start)
        shown = (data * inside)[start[0] :]
        place = np.arange(start[0], len(data)) - np.repeat(start, np.diff(start, append=len(data)))
        np.minimum(place, 4 * LONGEST, out=place)  # beyond a word there are separators alone, and those count nothing
        return [_hashed(salt, shown, place, start - start[0]) for salt in self._salts], start, start + length

    def _foreign(self, data: Bytes, kinds: Bytes) -> Numbers | None:
        """Set the kinds of what isn't ASCII; where a character stands alone, and where one after such begins."""
        lead = np.flatnonzero(data >= 0xC0)
        if not len(lead):
            return None
        size = 2 + (data[lead] >= 0xE0) + (data[lead] >= 0xF0)
        whole = lead + size <= len(data)  # one that a block's end cuts in two is read again with the next block
        lead, size = lead[whole], size[whole]
        code = (data[lead] & (0x7F >> size)).astype(np.int64)
        for i in (1, 2, 3):
            more = size > i
            code[more] = (code[more] << 6) | (data[lead[more] + i] & 0x3F)
        kind = self._kinds[np.minimum(code, _CODES - 1)]
        odd = kind != _PART
        lead, size, kind = lead[odd], size[odd], kind[odd]
        for i in range(4):
            more = size > i
            kinds[lead[more] + i] = kind[more]
        lead, size = lead[kind == _ALONE], size[kind == _ALONE]
        after = lead + size
        return np.concatenate((lead, after[after < len(data)]))


def ngrams(hashes: Hashes, length: int) -> Hashes:
    """The hash of each run of `length` words, [W - length + 1] (none where there are fewer words)."""
    if len(hashes) < length:
        return np.empty(0, dtype=np.uint64)
    level, size = hashes, 1
    while 2 * size <= length:
        level = _joined(level[:-size], level[size:], size)
        size *= 2
    # The last two of a power of two overlap where the length isn't one: together they still are all of the words.
    rest = length - size
    return _joined(level[:-rest], level[rest:], length) if rest else level


def _joined(left: Hashes, right: Hashes, size: int) -> Hashes:
    return mixed(left * np.uint64(fold_in(0, "join", size) | 1) + right)


def mixed(numbers: Hashes) -> Hashes:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): every bit of what comes out depends on every bit."""
    out = numbers ^ (numbers >> np.uint64(30))
    out *= np.uint64(0xBF58476D1CE4E5B9)
    out ^= out >> np.uint64(27)
    out *= np.uint64(0x94D049BB133111EB)
    out ^= out >> np.uint64(31)
    return out


def _hashed(salt: str, shown: Bytes, place: Numbers, start: Numbers) -> Hashes:
    letters, places = _randoms(salt)
    products = letters[shown]
    products *= places[place]
    return mixed(np.add.reduceat(products, start))


@cache
def _randoms(salt: str) -> tuple[Hashes, Hashes]:
    """A random number for each byte (none for a separator), and an odd one for each place in a word."""
    random = np.random.Generator(np.random.PCG64(fold_in(0, "word hashes", salt)))
    letters = random.integers(0, 2**64, size=256, dtype=np.uint64)
    letters[0] = 0
    return letters, random.integers(0, 2**64, size=4 * LONGEST + 1, dtype=np.uint64) | np.uint64(1)


def _lengths(inside: npt.NDArray[np.bool_], start: Numbers) -> Numbers:
    """How many bytes each word has: up to the next one, less the separators between."""
    counts: Numbers = np.add.reduceat(inside, start, dtype=np.int64)
    return counts


def _shortened(data: Bytes, start: Numbers, length: Numbers) -> Numbers:
    """The starts with those of the further parts of words beyond LONGEST characters."""
    more = [start]
    for at in np.flatnonzero(length > LONGEST):
        first = int(start[at])
        characters = np.flatnonzero((data[first : first + int(length[at])] & 0xC0) != 0x80)
        more.append(first + characters[LONGEST::LONGEST])
    return np.sort(np.concatenate(more))


@cache
def _kinds(rule: str) -> Bytes:
    """What each character is: part of a word, a word alone, or a separator, uint8 [_CODES]."""
    if rule == "spaces":
        kinds = np.full(_CODES, _PART, dtype=np.uint8)
        kinds[[code for code in range(_CODES) if chr(code).isspace()]] = _SEPARATOR
        kinds[:0x21] = kinds[0x7F] = _SEPARATOR
    else:
        letters = (unicodedata.category(chr(code))[0] in "LNM" for code in range(_CODES))
        kinds = np.fromiter(letters, dtype=np.uint8, count=_CODES)
    for first, last in _SPACELESS:
        kinds[first : last + 1] *= _ALONE
    return kinds
