"""Choosing how a retrieval answers and when it declines, on a task's validation examples."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from bedplate.adapt.retrieval.prompts import declined

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Judged:
    """One validation question. answerable: whether its right answer is in the sources. support: of the best answer that
    could be given to it, in [0, 1]."""

    answerable: bool
    support: float


def is_unanswerable(target: str) -> bool:
    """Whether a task's right answer is that there is none: an empty one, or one that says it isn't in the sources."""
    return not target.strip() or declined(target)


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


def exact(answer: str, target: str) -> bool:
    """SQuAD's exact match: alike without case, articles and punctuation (Rajpurkar et al. 2016, arXiv 1606.05250)."""
    return _normal(answer) == _normal(target)


def f1(answer: str, target: str) -> float:
    """SQuAD's F1 of the words of an answer and the right one, in [0, 1]."""
    one, other = _normal(answer), _normal(target)
    if not one or not other:
        return float(one == other)
    return 2 * sum((Counter(one) & Counter(other)).values()) / (len(one) + len(other))


def _normal(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()
