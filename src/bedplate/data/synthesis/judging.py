"""What is wrong with an answer, if anything: short reasons by which it is left out."""

from __future__ import annotations

import re

from bedplate.data.synthesis.asking import Answer
from bedplate.data.synthesis.similarity import copied_share, words

_SHORTEST_SHARE = 0.1
"""A rephrased passage with a smaller share of the passage's words has lost it."""
_REFUSAL = re.compile(
    r"\A\W*(?:i(?:'|’)?m (?:very )?(?:sorry|afraid|unable|not able)|i am (?:very )?(?:sorry|afraid|unable|not able)"
    r"|sorry\b|i apologi[sz]e|i (?:can(?:'|’)?t|cannot|can not|won(?:'|’)?t|will not|must decline|am not allowed)"
    r"|unfortunately,? (?:i|as an)|as an? (?:ai|artificial|large language|language model))",
    re.IGNORECASE,
)

# Self-Instruct, section 2.2: what a model that only reads and writes text can't work on.
_BEYOND_TEXT = re.compile(
    r"\b(?:images?|pictures?|photos?|graphs?|files?|maps?|draw|plot|go to|videos?|audio|music|flowcharts?|diagrams?)\b",
    re.IGNORECASE,
)
_FEWEST_WORDS, _MOST_WORDS = 4, 150


def whole(answer: Answer, text: str) -> str | None:
    """Why an answer is no text at all. text: the answer, cleaned."""
    if not text:
        return "empty"
    if answer.cut:
        return "cut_off"
    if "\0" in text:
        return "not_text"
    return "refusal" if _REFUSAL.match(text) else None


def faithful(text: str, passage: str, copied: float) -> str | None:
    """Why a rephrased passage is none."""
    own, source = words(text), words(passage)
    if len(own) < _SHORTEST_SHARE * len(source):
        return "too_short"
    return "copy" if copied_share(own, source) >= copied else None


def instruction(text: str) -> str | None:
    """Why a text is no task, by Self-Instruct's rules: length, what text can't do, and odd beginnings."""
    count = len(words(text))
    if not _FEWEST_WORDS <= count <= _MOST_WORDS:
        return "instruction_length"
    if _BEYOND_TEXT.search(text):
        return "beyond_text"
    if text.lower().startswith("write a program"):
        return "write_a_program"
    return None if text[0].isalnum() else "odd_beginning"
