"""How well extracted text agrees with the text that people marked: precision, recall and F1 of runs of four words.

As in the article extraction benchmark (Zyte 2020, "Article Extraction: Evaluating Open-Source Extractors"): counted by
page, so that a long one weighs no more than a short one; precision over the pages of which something was extracted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Agreement:
    """Means over pages, and the harmonic mean of the two."""

    precision: float
    recall: float
    pages: int

    @property
    def f1(self) -> float:
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def agreement(pairs: Iterable[tuple[str, str]], *, words: int = 4) -> Agreement:
    """Of (true text, extracted text) for each page. A text shorter than `words` is one run."""
    precisions: list[float] = []
    recalls: list[float] = []
    pages = 0
    for true, extracted in pairs:
        expected, found = _runs(true, words), _runs(extracted, words)
        common = (expected & found).total()
        pages += 1
        if found:
            precisions.append(common / found.total())
        if expected:
            recalls.append(common / expected.total())
    return Agreement(_mean(precisions), _mean(recalls), pages)


def _runs(text: str, words: int) -> Counter[tuple[str, ...]]:
    found = _WORD.findall(text)
    return Counter(run for i in range(max(1, len(found) - words + 1)) if (run := tuple(found[i : i + words])))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
