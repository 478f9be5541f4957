"""Texts as numbers: words or characters hashed, and shingles of them, over many documents at once.

Everything works on arrays of code points, so that a document costs microseconds. A word is a run of letters and digits
(Unicode's L, M and N); case and, on letters whose decomposition is a letter and accents, the accents don't count.
"""

from __future__ import annotations

import sys
import unicodedata
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from bedplate.config import fold_in
from bedplate.data.deduplicate.config import ShingleConfig

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

PIECE = 1 << 18
"""Bytes that are worked on at once. A longer text is cut, and loses the shingles across the cuts."""
_TABLE = 0x20000
"""Code points above are rare ideographs: letters that stand for themselves, each a word."""
_ACCENTS = range(0x300, 0x370)
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x312F),  # radicals, kana, bopomofo
    (0x31A0, 0x31FF),
    (0x3400, 0x9FFF),  # ideographs
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),  # half-width kana
    (0x1AFF0, 0x1B16F),
)


class Shingler:
    """Makes shingles as a configuration says. The same text gives the same shingles whatever else is in the batch."""

    def __init__(self, config: ShingleConfig) -> None:
        random = np.random.PCG64(fold_in(config.seed, "shingles"))
        self.length = config.length
        self._characters = config.unit == "character"
        letters, self._single = _tables()
        salt = random.random_raw(2)
        self._salt = np.uint64(salt[0])
        self._values = np.where(letters > 0, mixed(letters ^ self._salt) | np.uint64(1), np.uint64(0))
        odd = random.random_raw(config.length + 1) | np.uint64(1)
        self._powers, self._inverses = _powers(int(salt[1]) | 5)
        self._weights = odd

    def __call__(self, text: U8, offsets: I64) -> tuple[U32, I64]:
        """Shingles as uint32 [S], document after document, and how many each has, int64 [N].

        text: UTF-8 of at most PIECE bytes, of which document i has offsets[i] to offsets[i + 1].
        """
        words, counts = self.words(text, offsets)
        n = self.length
        sizes = np.maximum(counts - n + 1, 0)
        if not sizes.any():
            return np.empty(0, dtype=np.uint32), sizes
        places = len(words) - n + 1
        sums = words[:places] * self._weights[0]
        for j in range(1, n):
            sums += words[j : places + j] * self._weights[j]
        inside = np.ones(len(words), dtype=bool)
        ends = np.cumsum(counts)
        for j in range(1, n):
            inside[np.maximum(ends - j, 0)] = False
        # Where a document has fewer than j words, the line above reaches into those places of the one before it that
        # are outside anyhow; at the very beginning it may hit place 0, which is inside only where document 0 is long.
        inside[0] = counts[np.flatnonzero(counts)[0]] >= n
        return (mixed(sums[inside[:places]]) >> np.uint64(32)).astype(np.uint32), sizes

    def words(self, text: U8, offsets: I64) -> tuple[U64, I64]:
        """The words' hashes, uint64 [W], and how many each document has, int64 [N]."""
        codes, offsets = _code_points(text, offsets)
        plain = codes.dtype == np.uint8
        values, single = self._letters(codes, plain)
        word = values != 0
        begins_here = word.copy()
        if not self._characters:
            begins_here[1:] &= ~word[:-1]
            first = offsets[:-1][offsets[:-1] < len(codes)]
            begins_here[first] = word[first]
            if single is not None:
                begins_here |= single
                begins_here[1:] |= word[1:] & single[:-1]
        begins = np.flatnonzero(begins_here)
        counts = np.diff(np.searchsorted(begins, offsets))
        if self._characters:
            return values[begins], counts
        # A polynomial over the letters, mod 2**64; what stands between words adds nothing, so a word may end where the
        # next begins. The inverse of the base takes out where in the batch it stands.
        np.multiply(values, self._powers[: len(values)], out=values)
        sums = np.zeros(len(values) + 1, dtype=np.uint64)
        np.cumsum(values, out=sums[1:])
        at = sums[np.append(begins, len(values))]
        return mixed((at[1:] - at[:-1]) * self._inverses[begins]), counts

    def _letters(self, codes: U8 | U32, plain: bool) -> tuple[U64, Bool | None]:
        """Each code point's value, 0 between words; and which are words by themselves, where some may be."""
        if plain:
            return self._values[codes], None
        inside = np.minimum(codes, _TABLE - 1)
        values, single = self._values[inside], self._single[inside]
        if (far := codes >= _TABLE).any():
            values[far] = mixed(codes[far].astype(np.uint64) ^ self._salt) | np.uint64(1)
            single |= far
        return values, single


def pieces(text: U8, offsets: I64) -> tuple[I64, I64]:
    """Cuts [P + 1] of the texts into pieces of at most PIECE bytes, at white space where it can be, and the document of
    each piece, int64 [P]. Where a text is cut depends on it alone."""
    sizes = np.diff(offsets)
    if not (sizes > PIECE).any():
        return offsets, np.arange(len(sizes), dtype=np.int64)
    cuts, owners = [int(offsets[0])], []
    for i, end in enumerate(offsets[1:].tolist()):
        while end - cuts[-1] > PIECE:
            window = text[cuts[-1] : cuts[-1] + PIECE]
            spaces = np.flatnonzero((window == 0x20) | (window == 0x0A))
            if len(spaces):
                cut = int(spaces[-1]) + 1
            else:  # before a character, not within it
                cut = int(np.flatnonzero((text[cuts[-1] : cuts[-1] + PIECE + 1] & 0xC0) != 0x80)[-1])
            cuts.append(cuts[-1] + (cut or PIECE))
            owners.append(i)
        cuts.append(end)
        owners.append(i)
    return np.array(cuts, dtype=np.int64), np.array(owners, dtype=np.int64)


def utf8(texts: list[str]) -> tuple[U8, I64]:
    """Texts as one array of bytes, and where each begins, int64 [N + 1]."""
    data = [text.encode("utf-8", "replace") for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in data], dtype=np.int64)]).astype(np.int64)
    return np.frombuffer(b"".join(data), dtype=np.uint8), offsets


def mixed(values: U64) -> U64:
    """The values with every bit depending on every other (the finaliser of SplitMix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _code_points(text: U8, offsets: I64) -> tuple[U8 | U32, I64]:
    """The characters of a batch, and where each document begins among them."""
    first = int(offsets[0])
    text, offsets = text[first : int(offsets[-1])], offsets - first
    if not len(text) or text.max() < 0x80:
        return text, offsets
    begins = (text & 0xC0) != 0x80
    offsets = np.concatenate([[0], np.cumsum(begins)])[offsets]
    order = "utf-32-le" if sys.byteorder == "little" else "utf-32-be"
    codes = np.frombuffer(text.tobytes().decode("utf-8", "replace").encode(order), dtype=np.uint32)
    accents = (codes >= _ACCENTS.start) & (codes < _ACCENTS.stop)
    if accents.any():
        offsets = np.concatenate([[0], np.cumsum(~accents)])[offsets]
        codes = codes[~accents]
    return codes, offsets


@lru_cache(maxsize=1)
def _tables() -> tuple[U64, Bool]:
    """What each code point is taken for (0: it stands between words), and which are words by themselves."""
    letters = np.zeros(_TABLE, dtype=np.uint64)
    single = np.zeros(_TABLE, dtype=bool)
    for code in range(_TABLE):
        character = chr(code)
        if unicodedata.category(character)[0] in "LMN":
            letters[code] = ord(_plain(character)) + 1
    for first, last in _UNSPACED:
        single[first : last + 1] = letters[first : last + 1] > 0
    return letters, single


def _plain(character: str) -> str:
    """Lower case, without accents and compatibility forms, where that is a single character."""
    base = [c for c in unicodedata.normalize("NFKD", character) if ord(c) not in _ACCENTS]
    plain = base[0] if len(base) == 1 else character
    lower = plain.lower()
    return lower if len(lower) == 1 else plain


@lru_cache(maxsize=4)
def _powers(base: int) -> tuple[U64, U64]:
    """Powers of an odd base mod 2**64, and of its inverse, as many as a piece has characters."""
    made = []
    for number in (base, pow(base, -1, 1 << 64)):
        powers = np.full(PIECE, number, dtype=np.uint64)
        powers[0] = 1
        made.append(np.multiply.accumulate(powers))
    return made[0], made[1]
