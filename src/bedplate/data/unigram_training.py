"""A unigram language model's pieces and their log-probabilities, by expectation maximisation (Kudo, 2018).

As SentencePiece does it: many frequent substrings to begin with, then rounds of two EM steps each, after which the
pieces go without which the words lose least likelihood. All words' lattices are one set of arrays, so a step is a few
passes of NumPy; sums are taken in a fixed order, and the same counts always give the same pieces.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

MOST_WORDS = 300_000
"""Different words that are learnt from, the most frequent: their lattices have to fit in memory."""
LONGEST_WORD = 32
"""Characters; longer words are cut. Products of so many probabilities stay within fp64."""
SEEDS_PER_PIECE = 8
KEPT_A_ROUND = 0.75
_LEAST = 0.5
"""Expected uses below which a piece goes; and what a character counts at least."""
_TINY = 1e-300


def train_unigram(
    counts: Mapping[str, int], size: int, longest: int, alphabet: Sequence[str]
) -> list[tuple[str, float]]:
    """At most `size` pieces with their natural log-probabilities, the likeliest first.

    counts: word -> how often. longest: characters of the longest piece. alphabet: characters that each stay a piece;
    words are cut at others. Raises ValueError if the alphabet alone is more than `size`.
    """
    if len(alphabet) > size:
        raise ValueError(f"{len(alphabet)} characters, where {size} pieces are wanted")
    words = _cut(counts, frozenset(alphabet))
    seeds = _seeds(words, size * SEEDS_PER_PIECE, longest)
    pieces = [*sorted(alphabet), *seeds]
    single = np.arange(len(pieces)) < len(alphabet)
    times = np.array(list(words.values()), dtype=np.float64)
    lattice = _Lattice.of(list(words), pieces, longest)
    # What a piece's place would be taken by: the ways to spell it without itself.
    spelling = _Lattice.of(pieces, pieces, longest, themselves=False)
    weights = _shares(np.array([*[1.0] * len(alphabet), *(float(n) for n in seeds.values())]))
    while True:
        for _ in range(2):
            expected = lattice.expected(weights, times)
            weights = _shares(np.where(single, np.maximum(expected, _LEAST), expected * (expected >= _LEAST)))
        excess = int((weights > 0).sum()) - size
        if excess <= 0:
            break
        lost = np.log(np.maximum(weights, _TINY)) - np.log(np.maximum(spelling.likelihood(weights), _TINY))
        loss = np.where(single | (weights == 0), np.inf, expected * lost)
        goes = min(excess, max(1, int((1 - KEPT_A_ROUND) * (weights > 0).sum())))
        weights[np.argsort(loss, kind="stable")[:goes]] = 0.0
        weights = _shares(weights)
    kept = sorted((i for i in range(len(pieces)) if weights[i] > 0), key=lambda i: (-weights[i], pieces[i]))
    return [(pieces[i], round(float(np.log(weights[i])), 6)) for i in kept]


def _shares(values: Floats) -> Floats:
    shares: Floats = values / values.sum()
    return shares


def _cut(counts: Mapping[str, int], alphabet: frozenset[str]) -> dict[str, int]:
    """The words in order, cut at characters outside the alphabet and where they are too long."""
    parts: Counter[str] = Counter()
    for word, count in counts.items():
        start = 0
        for end in range(len(word) + 1):
            if end == len(word) or word[end] not in alphabet or end - start == LONGEST_WORD:
                if end > start:
                    parts[word[start:end]] += count
                start = end if end < len(word) and word[end] in alphabet else end + 1
    most = sorted(parts.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_WORDS]
    return dict(sorted(most))


def _seeds(words: Mapping[str, int], most: int, longest: int) -> dict[str, int]:
    """Substrings of at least two characters that occur at least twice, those that cover most text."""
    found: Counter[str] = Counter()
    for word, count in words.items():
        for start in range(len(word) - 1):
            for end in range(start + 2, min(start + longest, len(word)) + 1):
                found[word[start:end]] += count
    often = [(piece, count) for piece, count in found.items() if count > 1]
    often.sort(key=lambda pair: (-pair[1] * len(pair[0]), pair[0]))
    return dict(often[:most])


@dataclass(frozen=True)
class _Lattice:
    """Every way to spell every word. by_end[e], by_start[s]: the edges (word, start, end, piece) that end or start
    there, each an array."""

    lengths: Ints
    by_end: Sequence[tuple[Ints, ...]]
    by_start: Sequence[tuple[Ints, ...]]

    @classmethod
    def of(cls, words: Sequence[str], pieces: Sequence[str], longest: int, *, themselves: bool = True) -> _Lattice:
        """themselves: whether a word that is a piece may be spelt by it."""
        index = {piece: i for i, piece in enumerate(pieces)}
        edges = array("i")
        for number, word in enumerate(words):
            for start in range(len(word)):
                for end in range(start + 1, min(start + longest, len(word)) + 1):
                    piece = index.get(word[start:end])
                    if piece is not None and (themselves or end - start < len(word)):
                        edges.extend((number, start, end, piece))
        table = np.frombuffer(edges, dtype=np.int32).reshape(-1, 4) if edges else np.empty((0, 4), np.int32)
        lengths = np.array([len(word) for word in words], dtype=np.int32)
        span = int(lengths.max(initial=0))

        def grouped(column: int) -> list[tuple[Ints, ...]]:
            return [tuple(table[table[:, column] == place].T.copy()) for place in range(span + 1)]

        return cls(lengths, grouped(2), grouped(1))

    def _forward(self, weights: Floats) -> Floats:
        """[words, places]: the probability of all spellings up to a place."""
        reached = np.zeros((len(self.lengths), len(self.by_end)))
        reached[:, 0] = 1.0
        for end, (word, start, _, piece) in enumerate(self.by_end):
            if len(word):
                reached[:, end] += np.bincount(word, reached[word, start] * weights[piece], len(self.lengths))
        return reached

    def likelihood(self, weights: Floats) -> Floats:
        """[words]: the probability of each."""
        found: Floats = self._forward(weights)[np.arange(len(self.lengths)), self.lengths]
        return found

    def expected(self, weights: Floats, times: Floats) -> Floats:
        """[pieces]: how often each is used where word w is written times[w] times."""
        reached = self._forward(weights)
        all_words = np.arange(len(self.lengths))
        whole = reached[all_words, self.lengths]
        left = np.zeros_like(reached)
        left[all_words, self.lengths] = np.divide(times, whole, out=np.zeros_like(whole), where=whole > 0)
        used = np.zeros(len(weights))
        for start in reversed(range(len(self.by_start))):
            word, _, end, piece = self.by_start[start]
            if len(word):
                onwards = weights[piece] * left[word, end]
                left[:, start] += np.bincount(word, onwards, len(self.lengths))
                used += np.bincount(piece, reached[word, start] * onwards, len(weights))
        return used
