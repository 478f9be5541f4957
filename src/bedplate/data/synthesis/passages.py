"""A document as passages that a model can read at once."""

from __future__ import annotations

import re
from collections.abc import Iterator

_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+")


def passages(text: str, most_words: int) -> list[str]:
    """Pieces of at most so many words (runs without white space), in order: whole paragraphs as far as they fit, else
    whole sentences, else words. Nothing but white space between pieces is lost."""
    found: list[str] = []
    held: list[str] = []
    size = 0
    for piece in _pieces(text, most_words):
        count = len(piece.split())
        if held and size + count > most_words:
            found.append("\n\n".join(held))
            held, size = [], 0
        held.append(piece)
        size += count
    return [*found, "\n\n".join(held)] if held else found


def _pieces(text: str, most: int) -> Iterator[str]:
    for paragraph in _PARAGRAPH.split(text):
        if len(paragraph.split()) <= most:
            if paragraph.strip():
                yield paragraph.strip()
            continue
        held: list[str] = []
        for sentence in _SENTENCE.split(paragraph):
            words = sentence.split()
            if held and len(held) + len(words) > most:
                yield " ".join(held)
                held = []
            held += words
            while len(held) > most:
                yield " ".join(held[:most])
                held = held[most:]
        if held:
            yield " ".join(held)
