"""Special tokens in a chat prompt that a message, a tool or a variable brought in, and not the template.

They are found by rendering once more with a noncharacter put inside whatever looks like a special token, or a part of
one, in the data: a special token of the prompt with such a break in it came from the data. This costs nothing where
the data hold nothing of the kind, which is nearly always.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from bedplate.codecs.chat import Rendering, unused_characters
from bedplate.codecs.guarded import Span, any_of
from bedplate.errors import InputError


def typed_specials(
    rendering: Rendering, text: str, specials: Sequence[str], *, add_generation_prompt: bool
) -> list[Span]:
    """Where in `text`, the prompt, special tokens stand that are (in part) content, as (start, end).

    Raises InputError where the template reads those parts of the data, so that it can't be told.
    """
    finder = _finder(tuple(specials))
    (mark,) = unused_characters(1, text + rendering.template)
    for bold in (True, False):  # the thorough way may keep a template from finding its "</think>"
        marker = _Marker(finder, mark, bold)
        marked_rendering = rendering.changed(marker.mark)
        if not marker.found:
            return []
        marked = marked_rendering.text(add_generation_prompt=add_generation_prompt)
        if marked.replace(mark, "") == text:
            return _broken(finder.whole, text, marked, mark)
    raise InputError(
        "the messages hold special tokens of the model, in a place where the chat template takes them apart",
        "Take them out, or pass parse_content_specials=True where the messages can be trusted.",
    )


def _broken(whole: re.Pattern[str], text: str, marked: str, mark: str) -> list[Span]:
    breaks, at = [], 0
    for piece in marked.split(mark)[:-1]:
        at += len(piece)
        breaks.append(at)
    found = []
    for match in whole.finditer(text):
        begin, end = match.span()
        next_break = bisect_right(breaks, begin)
        if next_break < len(breaks) and breaks[next_break] < end:
            found.append((begin, end))
    return found


class _Finder:
    """Special tokens and parts of them in a piece of data."""

    def __init__(self, specials: tuple[str, ...]) -> None:
        tokens = tuple(t for t in specials if len(t) > 1)
        self.whole = any_of(tokens)
        """Whole ones."""
        self.pairs = re.compile("|".join({re.escape(p) for t in tokens for p in (t[:2], t[-2:])}) or "(?!)")
        """Their first and their last two characters: a template that joins parts can make a whole of them."""
        self.starts = tuple({t[:n] for t in tokens for n in range(1, len(t))})
        self.ends = tuple({t[n:] for t in tokens for n in range(1, len(t))})
        self.middles = "\n".join(t[1:-1] for t in tokens)


@lru_cache(maxsize=16)
def _finder(specials: tuple[str, ...]) -> _Finder:
    return _Finder(specials)


class _Marker:
    """Puts the mark into data. `found`: whether there was anything to mark."""

    def __init__(self, finder: _Finder, mark: str, bold: bool) -> None:
        self._finder, self._mark, self._inner = finder, mark, finder.pairs if bold else finder.whole
        self.found = False

    def mark(self, value: Any, key: str = "") -> Any:
        if isinstance(value, str):
            return self._text(value, key)
        if isinstance(value, dict):
            return {self._text(k, "role"): self.mark(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [self.mark(v, key) for v in value]
        return value

    def _text(self, text: Any, key: str) -> Any:
        if not isinstance(text, str):
            return text
        marked = self._inner.sub(lambda m: m[0][0] + self._mark + m[0][1:], text)
        core = marked.strip()
        if core and key not in ("role", "type"):  # templates compare these, and spell tokens with them
            before, after = "", ""
            whole = core in self._finder.middles
            if whole or core.startswith(self._finder.ends):
                before = self._mark
            if whole or core.endswith(self._finder.starts):
                after = self._mark
            if before or after:
                lead = len(marked) - len(marked.lstrip())
                marked = marked[:lead] + before + core + after + marked[lead + len(core) :]
        self.found = self.found or marked != text
        return marked
