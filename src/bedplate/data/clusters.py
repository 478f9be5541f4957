"""Which sequences are related: those that share many of their words, and whatever hangs together by that.

For splitting proteins or nucleotides so that no relative of a training sequence is tested on. No alignment: the share
of common words of `word` letters stands for identity, as in MinHash (Ondov et al. 2016, doi 10.1186/s13059-016-0997-x)
but exact. Where letters differ independently, two sequences of identity p share p^word of their words: with the
defaults they are linked from about 68% on, and far below where conserved stretches lie together, as in real families.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from bedplate.errors import InputError

Ids = npt.NDArray[np.int64]

LEAST_SHARED = 2
"""Words that two sequences must share whatever their lengths: one may be chance."""
_LETTER_BITS = 5


def sequence_clusters(sequences: Sequence[str], *, word: int = 6, share: float = 0.1) -> Ids:
    """The cluster of each sequence, int64 [N], numbered by the first sequence of each: single linkage, so that two
    sequences of different clusters are never linked.

    Two are linked that share at least `share` of the different words of the one that has fewer, and at least two words.
    Upper and lower case count alike. A sequence shorter than a word is alone, unless another is the same.

    Memory and time grow with the number of pairs that share a word, not with all pairs: 20,000 proteins of 450 letters
    take about three seconds and 600 MB. Raises InputError for impossible settings or sequences.
    """
    if not 1 <= word <= 12:
        raise InputError(f"clusters: words of {word} letters", "Use 1 to 12.")
    if not 0 < share <= 1:
        raise InputError(f"clusters: a share of {share}", "Use a share above 0 and up to 1, such as 0.1.")
    words = [_words(sequence, word) for sequence in sequences]
    sizes = np.array([len(found) for found in words], dtype=np.int64)
    links = list(_links(words, sizes, share))
    same: dict[str, int] = {}
    first = np.array([same.setdefault(s.upper(), i) for i, s in enumerate(sequences)], dtype=np.int64)
    links.append((first, np.arange(len(sequences), dtype=np.int64)))
    return _components(len(sequences), *(np.concatenate(ends) for ends in zip(*links, strict=True)))


def _words(sequence: str, word: int) -> Ids:
    """The different words of a sequence, sorted, each as a number."""
    try:
        letters = np.frombuffer(sequence.upper().encode("ascii"), dtype=np.uint8).astype(np.int64) - ord("A")
    except UnicodeEncodeError as error:
        raise InputError(
            f"clusters: {sequence[:20]!r}... isn't a sequence of letters", "Give A to Z, * and -."
        ) from error
    letters = np.where((letters >= 0) & (letters < 26), letters, 26)
    places = len(letters) - word + 1
    if places < 1:
        return np.empty(0, dtype=np.int64)
    codes = np.zeros(places, dtype=np.int64)
    for i in range(word):
        codes = (codes << _LETTER_BITS) | letters[i : i + places]
    return np.unique(codes)


def _links(words: list[Ids], sizes: Ids, share: float) -> Iterator[tuple[Ids, Ids]]:
    """Pairs that share enough words."""
    count = len(words)
    if not sizes.sum():
        return
    codes = np.concatenate(words)
    owners = np.repeat(np.arange(count), sizes)
    order = np.argsort(codes, kind="stable")
    codes, owners = codes[order], owners[order]
    ends = np.searchsorted(codes, codes, side="right")
    # Owners of a word stand in a row, in order: pairs of neighbours, of next neighbours, and on until no row is left.
    pairs, at, apart = [np.empty(0, dtype=np.int64)], np.arange(len(codes)), 1
    while len(at := at[at + apart < ends[at]]):
        pairs.append(owners[at] * count + owners[at + apart])
        apart += 1
    found, shared = np.unique(np.concatenate(pairs), return_counts=True)
    one, other = found // count, found % count
    enough = shared >= np.maximum(share * np.minimum(sizes[one], sizes[other]), LEAST_SHARED)
    yield one[enough], other[enough]


def _components(count: int, one: Ids, other: Ids) -> Ids:
    """The least sequence that each hangs together with."""
    label = np.arange(count, dtype=np.int64)
    while True:
        least = np.minimum(label[one], label[other])
        new = label.copy()
        np.minimum.at(new, one, least)
        np.minimum.at(new, other, least)
        new = new[new]
        if np.array_equal(new, label):
            break
        label = new
    return np.unique(label, return_inverse=True)[1].astype(np.int64)
