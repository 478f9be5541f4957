"""What a document is made of: its text, and the blocks in it (headings, paragraphs, list items, code, tables) as spans.

Plain text and Markdown keep the file's own text, so that a span resolves in the file itself; HTML is rendered to text
(see `html`), and its spans resolve in that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BlockKind = Literal["heading", "paragraph", "item", "code", "table"]


@dataclass(frozen=True)
class Block:
    """Characters [start, end) of a document. headings: those above it, outermost first; a heading's own text isn't in
    its own list."""

    start: int
    end: int
    kind: BlockKind
    headings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Structured:
    """A document's text and its blocks, in order and apart from each other. Every letter and digit is in a block.

    title: as the document itself says it; empty where it doesn't.
    """

    text: str
    title: str
    blocks: tuple[Block, ...]


class Outline:
    """The headings above a place, kept while a document is read from top to bottom."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(text for _, text in self._open)

    def above(self, level: int) -> tuple[str, ...]:
        """The headings that a heading of this level stands under. Closes those that it ends."""
        self._open = [entry for entry in self._open if entry[0] < level]
        return self.path

    def enter(self, level: int, text: str) -> None:
        """Everything from here on stands under this heading as well."""
        self.above(level)
        if text:
            self._open.append((level, text))


def plain_blocks(text: str) -> Structured:
    """Plain text: paragraphs are what empty lines part."""
    blocks: list[Block] = []
    start = end = at = 0
    for line in text.splitlines(keepends=True):
        if line.strip():
            if end <= start:
                start = at + len(line) - len(line.lstrip())
            end = at + len(line.rstrip())
        elif end > start:
            blocks.append(Block(start, end, "paragraph"))
            start = end = at + len(line)
        at += len(line)
    if end > start:
        blocks.append(Block(start, end, "paragraph"))
    return Structured(text, "", tuple(blocks))
