"""Putting many questions to whatever answers, in one batch, and telling how right a free answer is.

There is one rule of rightness, for validation, comparison and the choice of a retrieval's style alike: SQuAD's
(Rajpurkar et al. 2016, arXiv 1606.05250), and that of its second version (Rajpurkar et al. 2018, arXiv 1806.03822) for
questions that have no answer, which are answered right by declining and by nothing else.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from bedplate.adapt.face import Answer, Answerer, Message
from bedplate.adapt.retrieval.prompts import declined
from bedplate.generate.params import SamplingParams

_ENDS = re.compile(r"^[\s\"'`*.,;:!]+|[\s\"'`*.,;:!]+$")
_CITATIONS = re.compile(r"\[\d+(?:\s*,\s*\d+)*\]")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def ask_all(
    face: Answerer, conversations: Sequence[Sequence[Message]], params: SamplingParams | None = None
) -> list[Answer]:
    """What `face.generate` gives for each conversation, with one batch put to its base."""
    prepared = [face.prepare(conversation) for conversation in conversations]
    asked = [p for p in prepared if p.answer is None]
    answers = iter(face.base.generate_many([p.messages for p in asked], params))
    return [face.finish(p, next(answers)) if p.answer is None else p.answer for p in prepared]


def is_right(answer: str, target: str, *, abstained: bool = False) -> bool:
    """Exact match: alike without case, punctuation, articles, runs of white space and the answer's citations.

    abstained: whether the answer is one that declines; one that says so in words counts likewise. Declining is right
    where the target is that there is no answer (`is_unanswerable`), and wrong elsewhere. As in SQuAD a decimal point
    and a minus sign are punctuation. Texts of nothing but articles and punctuation are compared by `plain`.
    """
    declines = abstained or is_unanswerable(answer)
    if declines or is_unanswerable(target):
        return declines and is_unanswerable(target)
    given, wanted = _words(answer, target)
    return given == wanted if given or wanted else plain(answer) == plain(target)


def word_f1(answer: str, target: str, *, abstained: bool = False) -> float:
    """Harmonic mean of precision and recall of the answer's words, as `is_right` has them; in [0, 1].

    Where either declines or has no words it is 1 for a right answer and 0 for another.
    """
    given, wanted = _words(answer, target)
    if abstained or is_unanswerable(answer) or is_unanswerable(target) or not given or not wanted:
        return float(is_right(answer, target, abstained=abstained))
    return 2 * sum((Counter(given) & Counter(wanted)).values()) / (len(given) + len(wanted))


def is_unanswerable(target: str) -> bool:
    """Whether a task's right answer is that there is none: an empty one, or one that says it isn't in the sources."""
    return not target.strip() or declined(target)


def plain(text: str) -> str:
    """The text without differences of case and white space and without the marks around it: how labels are told."""
    return " ".join(_ENDS.sub("", text).casefold().split())


def _words(answer: str, target: str) -> tuple[list[str], list[str]]:
    """Both as SQuAD compares them. What looks like a citation stays where the target has such a thing itself."""
    if not _CITATIONS.search(target):
        answer = _CITATIONS.sub(" ", answer)
    given, wanted = (_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split() for text in (answer, target))
    return given, wanted
