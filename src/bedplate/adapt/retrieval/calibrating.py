"""Choosing how a retrieval answers and when it declines, on a task's validation examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from bedplate.adapt import asking

is_unanswerable, exact, f1 = asking.is_unanswerable, asking.is_right, asking.word_f1
"""Styles are chosen by the rule that answers are scored by everywhere."""


@dataclass(frozen=True)
class Judged:
    """One validation question. answerable: whether its right answer is in the sources. support: of the best answer that
    could be given to it, in [0, 1]."""

    answerable: bool
    support: float


def threshold_of(judged: Sequence[Judged]) -> float | None:
    """The support from which on answers are given that parts answerable from unanswerable questions best: the greatest
    mean of the shares of both that are treated rightly (balanced accuracy), halfway between two supports that occur.
    None where one of the two kinds is missing.
    """
    good = sorted(j.support for j in judged if j.answerable)
    bad = sorted(j.support for j in judged if not j.answerable)
    if not good or not bad:
        return None
    steps = sorted({0.0, *good, *bad, 1.0})
    between = [(low + high) / 2 for low, high in pairwise(steps)]

    def balanced(threshold: float) -> float:
        answered = sum(support >= threshold for support in good) / len(good)
        return (answered + sum(support < threshold for support in bad) / len(bad)) / 2

    return max(between, key=balanced)
