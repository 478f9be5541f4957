"""How right answers are: exact match as tasks have it, and what tells more than a share of right ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from bedplate.adapt.asking import is_right

EXACT_MATCH_RULE = (
    "An answer is right if it equals the expected one but for case, spacing, the marks around it (quotes, full stops) "
    "and citations such as [1]. A declined question counts as answered wrong."
)

_CITATIONS = re.compile(r"\[\d+(?:\s*,\s*\d+)*\]")
_WORDS = re.compile(r"\w+")


def exact_match(answer: str, target: str) -> bool:
    """Whether the answer is right by `EXACT_MATCH_RULE`: as ways are scored on validation, less the citations."""
    return is_right(_CITATIONS.sub(" ", answer), target)


def token_f1(answer: str, target: str) -> float:
    """Harmonic mean of precision and recall of the answer's words, as SQuAD counts them (Rajpurkar et al. 2016)."""
    given, wanted = (_WORDS.findall(_CITATIONS.sub(" ", text).casefold()) for text in (answer, target))
    shared = sum((Counter(given) & Counter(wanted)).values())
    return 0.0 if not shared else 2 * shared / (len(given) + len(wanted))


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
