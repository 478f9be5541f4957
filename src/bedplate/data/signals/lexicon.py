"""Looking up many words in short lists, by their hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bedplate.data.signals.hashing import Hashes, Ints
from bedplate.data.signals.texts import Texts

_SIEVE = 1 << 16


@dataclass(frozen=True)
class Lexicon:
    """Lists of words, each found in lower case, Capitalised and in CAPITALS. keys [W], sorted; lists [W]."""

    keys: Hashes
    lists: Ints
    sieve: NDArray[np.bool_]
    """By the last bits of a hash, whether it may be one of `keys`: most words aren't."""
    names: tuple[str, ...]

    @staticmethod
    def of(lists: Mapping[str, Sequence[str]]) -> Lexicon:
        """Of lists by name. A word is one token: letters and digits, nothing between. It may be in several lists."""
        return _made(tuple((name, tuple(words)) for name, words in lists.items()))

    def found(self, texts: Texts) -> Ints:
        """How often each document says a word of each list, int64 [documents, lists]."""
        near = np.flatnonzero(self.sieve[texts.token_hashes & np.uint64(_SIEVE - 1)])
        hashes = texts.token_hashes[near]
        low, high = np.searchsorted(self.keys, hashes), np.searchsorted(self.keys, hashes, side="right")
        counts = np.zeros((len(texts.lengths), len(self.names)), dtype=np.int64)
        documents = texts.tokens.documents[near]
        while (hit := low < high).any():
            low, high, documents = low[hit], high[hit], documents[hit]
            np.add.at(counts, (documents, self.lists[low]), 1)
            low = low + 1
        return counts

    def distinct(self, texts: Texts) -> Ints:
        """How many of the lists each document says a word of [documents]."""
        return np.count_nonzero(self.found(texts), axis=1)


@lru_cache(maxsize=8)
def _made(lists: tuple[tuple[str, tuple[str, ...]], ...]) -> Lexicon:
    pairs = sorted({(form, index) for index, (_, words) in enumerate(lists) for word in words for form in _forms(word)})
    texts = Texts([form for form, _ in pairs])
    if len(texts.tokens) != len(pairs):
        raise ValueError("a word of a lexicon isn't one token")
    order = np.argsort(texts.token_hashes, kind="stable")
    keys = texts.token_hashes[order]
    sieve = np.zeros(_SIEVE, dtype=np.bool_)
    sieve[keys & np.uint64(_SIEVE - 1)] = True
    indices = np.array([index for _, index in pairs], dtype=np.int64)
    return Lexicon(keys, indices[order], sieve, tuple(name for name, _ in lists))


def _forms(word: str) -> tuple[str, str, str]:
    return word.lower(), word.capitalize(), word.upper()
