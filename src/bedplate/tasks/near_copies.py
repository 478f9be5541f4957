"""When two texts are the same for a split: equal but for case, spacing and punctuation, or long and nearly equal.

A test text that also stands in training measures memory. Short texts that differ in a word ask different things ("a
physical card", "a virtual card"), so nearness counts only from `LONG` words on: a Jaccard similarity of at least
`NEAR` between the sets of runs of `RUN` words, found exactly by prefix filtering (Chaudhuri, Ganti, Kaushik 2006: two
sets that are so similar share one of the few first elements of each, in any fixed order).
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Sequence

LONG = 20
RUN = 5
NEAR = 0.8

_WORDS = re.compile(r"\w+")


def plain(text: str) -> str:
    """The text without differences of case, spacing and compatibility forms (NFKC)."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def canonical(text: str) -> str:
    """`plain` without punctuation: what two texts share that say the same words. Never empty for a text that isn't."""
    even = plain(text)
    return " ".join(_WORDS.findall(even)) or even


def groups(texts: Sequence[str]) -> list[int]:
    """For each text the index of the first text that it is a copy or near copy of, perhaps through others; its own
    where there is none."""
    parent = list(range(len(texts)))
    first: dict[str, int] = {}
    forms = [canonical(text) for text in texts]
    for index, form in enumerate(forms):
        parent[index] = first.setdefault(form, index)
    for one, other in _near([(index, form) for form, index in first.items()]):
        a, b = _root(parent, one), _root(parent, other)
        parent[max(a, b)] = min(a, b)
    return [_root(parent, index) for index in range(len(texts))]


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


def _near(forms: Sequence[tuple[int, str]]) -> list[tuple[int, int]]:
    """Pairs of long texts whose runs of words are nearly the same."""
    runs: dict[int, frozenset[bytes]] = {}
    seen: dict[bytes, list[int]] = {}
    pairs = []
    for index, form in forms:
        words = form.split(" ")
        if len(words) < LONG:
            continue
        mine = frozenset(_digest(words[at : at + RUN]) for at in range(len(words) - RUN + 1))
        runs[index] = mine
        prefix = sorted(mine)[: len(mine) - math.ceil(NEAR * len(mine)) + 1]
        for other in {earlier for run in prefix for earlier in seen.get(run, ())}:
            theirs = runs[other]
            together = len(mine & theirs)
            if together >= NEAR * (len(mine) + len(theirs) - together):
                pairs.append((other, index))
        for run in prefix:
            seen.setdefault(run, []).append(index)
    return pairs


def _digest(words: Sequence[str]) -> bytes:
    return hashlib.blake2b(" ".join(words).encode("utf-8", "surrogatepass"), digest_size=8).digest()
