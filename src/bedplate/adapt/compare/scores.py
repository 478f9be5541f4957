"""How right answers are: what tells more than a share of right ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bedplate.adapt import asking

EXACT_MATCH_RULE = (
    "An answer is right if it equals the expected one but for case, spacing, punctuation, articles (a, an, the) and "
    "citations such as [1]. Declining is right where the expected answer is that there is none, and wrong elsewhere."
)

exact_match, token_f1 = asking.is_right, asking.word_f1
"""Answers to the test are scored by the rule that they are scored by on validation."""


def macro_f1(targets: Sequence[str], answers: Sequence[str]) -> float:
    """The mean of the classes' F1, over all classes that are wanted or answered."""
    right = Counter(target for target, answer in zip(targets, answers, strict=True) if target == answer)
    wanted, answered = Counter(targets), Counter(answers)
    classes = wanted | answered
    return sum(2 * right[name] / (wanted[name] + answered[name]) for name in classes) / len(classes)


def confusions(targets: Sequence[str], answers: Sequence[str]) -> list[tuple[str, str, int]]:
    """(wanted, answered instead, how often), the most frequent first."""
    pairs = Counter((t, a) for t, a in zip(targets, answers, strict=True) if t != a)
    return [(target, answer, count) for (target, answer), count in sorted(pairs.items(), key=lambda p: (-p[1], p[0]))]


def recalls(targets: Sequence[str], answers: Sequence[str]) -> list[tuple[str, float, int]]:
    """(class, share of its examples answered right, its examples), the worst first."""
    wanted = Counter(targets)
    right = Counter(target for target, answer in zip(targets, answers, strict=True) if target == answer)
    return sorted(((name, right[name] / count, count) for name, count in wanted.items()), key=lambda r: (r[1], r[0]))
