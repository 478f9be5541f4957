"""What stands right before a number: the word that says what it is."""

from __future__ import annotations

import re
from functools import cache

REACH = 40
"""Characters before a number in which its word is looked for."""


_LETTER = re.compile(r"[^\W\d_]")


@cache
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W\d_])(?:{'|'.join(words)})(?![^\W\d_])", re.IGNORECASE)


def named(text: str, start: int, words: tuple[str, ...], reach: int = REACH, *, same_line: bool = False) -> bool:
    """Whether one of the words (regular expressions, upper and lower case alike) stands in the `reach` characters
    before `start`; with `same_line`, in those of its line."""
    before = text[max(0, start - reach) : start]
    if not _LETTER.search(before):  # as within a table of numbers
        return False
    return _pattern(words).search(before.rpartition("\n")[2] if same_line else before) is not None
