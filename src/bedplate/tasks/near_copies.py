"""When two texts are the same for a split: equal but for case, spacing and punctuation, or long and nearly equal.

A test text that also stands in training measures memory. Short texts that differ in a word ask different things ("a
physical card", "a virtual card"), so nearness counts only from `LONG` words on: a Jaccard similarity of at least
`NEAR` between the sets of runs of `RUN` words, found exactly by prefix filtering (Chaudhuri, Ganti, Kaushik 2006: two
sets that are so similar share one of the few first elements of each, in any fixed order). The rarest runs come first
(Bayardo, Ma, Srikant 2007), so that words which many texts share, such as a form letter's, bring no pairs together.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

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
    runs = {index: runs_of(form) for form, index in first.items() if len(form.split(" ")) >= LONG}
    for one, other in candidates(runs):
        a, b = _root(parent, one), _root(parent, other)
        if a != b and _similar(runs[one], runs[other]):
            parent[max(a, b)] = min(a, b)
    return [_root(parent, index) for index in range(len(texts))]


def runs_of(form: str) -> frozenset[bytes]:
    """The runs of `RUN` words of a canonical form, as digests."""
    words = form.split(" ")
    return frozenset(_digest(words[at : at + RUN]) for at in range(len(words) - RUN + 1))


def candidates(runs: Mapping[int, frozenset[bytes]]) -> Iterator[tuple[int, int]]:
    """All pairs of texts that may be near, each once: a superset of those that are, and not much more.

    Sets come by size, so that those to come are no smaller: one that is to be near to a set of n shares at least
    2 NEAR / (1 + NEAR) n runs with it, and a shorter prefix is remembered than is looked up (Xiao et al. 2008, PPJoin).
    """
    often = Counter(run for mine in runs.values() for run in mine)
    seen: dict[bytes, list[int]] = {}
    for index in sorted(runs, key=lambda index: (len(runs[index]), index)):
        rarest = sorted(runs[index], key=lambda run: (often[run], run))
        size = len(rarest)
        found = {other for run in rarest[: _prefix(size, NEAR)] for other in seen.get(run, ())}
        yield from ((other, index) for other in found if len(runs[other]) >= NEAR * size)
        for run in rarest[: _prefix(size, 2 * NEAR / (1 + NEAR))]:
            seen.setdefault(run, []).append(index)


def _prefix(size: int, share: float) -> int:
    """Of how many first elements one is shared if `share` of all are; less rounding, which mustn't cost one."""
    return size - math.ceil(share * size - 1e-9) + 1


def _similar(mine: frozenset[bytes], theirs: frozenset[bytes]) -> bool:
    together = len(mine & theirs)
    return together >= NEAR * (len(mine) + len(theirs) - together)


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


def _digest(words: Sequence[str]) -> bytes:
    return hashlib.blake2b(" ".join(words).encode("utf-8", "surrogatepass"), digest_size=8).digest()
