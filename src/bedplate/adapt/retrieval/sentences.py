"""Where sentences begin and end, as exact spans of a text. Rules, not a model: the same everywhere and fast."""

from __future__ import annotations

import re
from collections.abc import Iterator

Span = tuple[int, int]

_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s)|[。！？｡]+[」』”）]*|\n[ \t\r]*\n")
_WORD_BEFORE = re.compile(r"[\w.]+\Z")
_INITIALS = re.compile(r"(?:[a-z]\.)+[a-z]")
_WINDOW = 24  # characters before a full stop that may hold an abbreviation

_TITLES = "mr mrs ms dr prof st jr sr vs e.g i.e cf al ed eds inc ltd corp dept univ approx col lt sgt capt rev hon sen"
_BEFORE_NUMBERS = "no nos vol vols pp fig figs eq sec art ch jan feb mar apr jun jul aug sep sept oct nov dec"
_ABBREVIATIONS, _NUMBERED = frozenset(_TITLES.split()), frozenset(_BEFORE_NUMBERS.split())


def sentence_spans(text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """The sentences of text[start:end], in order, without the white space between them.

    A full stop, question or exclamation mark ends one where white space and then no small letter follow, unless it
    belongs to an abbreviation or an initial; an empty line always does. Every character that isn't white space is in
    exactly one span.
    """
    return list(_spans(text, start, len(text) if end is None else end))


def line_spans(text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """The lines of text[start:end] that hold something, without the white space after them."""
    stop = len(text) if end is None else end
    spans, at = [], start
    for line in text[start:stop].splitlines(keepends=True):
        if line.strip():
            spans.append((at, at + len(line.rstrip())))
        at += len(line)
    return spans


def _spans(text: str, start: int, end: int) -> Iterator[Span]:
    at = start
    for found in _END.finditer(text, start, end):
        if found.end() > at and _ends(text, found, end):
            yield from _stripped(text, at, found.end())
            at = found.end()
    yield from _stripped(text, at, end)


def _ends(text: str, found: re.Match[str], end: int) -> bool:
    mark = found[0]
    if mark[0] not in ".!?…":
        return True
    following = text[found.end() : min(found.end() + 64, end)].lstrip()[:1]
    if following.islower():
        return False
    if mark != ".":  # no abbreviation ends like this
        return True
    before = _WORD_BEFORE.search(text, max(0, found.start() - _WINDOW), found.start())
    word = before[0].lower() if before else ""
    if word in _ABBREVIATIONS or (word in _NUMBERED and following.isdigit()):
        return False
    initial = (len(word) == 1 and word.isalpha()) or _INITIALS.fullmatch(word) is not None
    return not (initial and following)


def _stripped(text: str, start: int, end: int) -> Iterator[Span]:
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    if left < len(piece):
        yield start + left, start + len(piece.rstrip())
