"""Cutting a document into chunks that an encoder reads whole, along its structure.

A chunk is a span of the document's text. It begins and ends between blocks; a block is cut only where it alone is
longer than a chunk may be: paragraphs and list items between sentences, code and tables between lines, and only a
sentence or line that is itself too long between words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bedplate.adapt.retrieval.blocks import Block, Structured
from bedplate.adapt.retrieval.sentences import Span, line_spans, sentence_spans

Count = Callable[[Sequence[str]], list[int]]
"""Texts -> how many tokens each has, without special ones and without truncation."""

_CONTEXT = 3  # the headings put before a chunk's text take at most 1/_CONTEXT of the limit
_WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Chunk:
    """Characters [start, end) of a document.

    body: where the text below its own headings begins. headings: those above that. context: the headings that its own
    text doesn't show, outermost first: put before the text where it is read alone. tokens: of `embedded`.
    """

    start: int
    end: int
    body: int
    headings: tuple[str, ...]
    context: tuple[str, ...]
    tokens: int


@dataclass(frozen=True)
class _Piece:
    """A block, or a part of one that is too long. tokens: of its text alone."""

    start: int
    end: int
    tokens: int
    block: Block


def embedded(text: str, start: int, end: int, context: Sequence[str]) -> str:
    """What the encoder reads of text[start:end], and what words are looked for in: its context, then its own text."""
    own = text[start:end]
    return f"{' > '.join(context)}\n{own}" if context else own


def chunk_document(document: Structured, limit: int, count: Count) -> list[Chunk]:
    """Chunks in order, of at most `limit` tokens each with their context, together holding every block.

    Every chunk is counted as a whole at the end, and cut again if joining its parts made more tokens of them than
    they had apart.
    """
    return [chunk for pieces in _groups(document, limit, count) for chunk in _fitting(document, pieces, limit, count)]


def _groups(document: Structured, limit: int, count: Count) -> list[list[_Piece]]:
    """Pieces that belong together: filled up block by block, and never from two sections."""
    text = document.text
    if not document.blocks:
        return []
    ends = [block.start for block in document.blocks[1:]] + [len(text)]  # with what parts a block from the next
    sizes = count([text[block.start : end] for block, end in zip(document.blocks, ends, strict=True)])
    groups: list[list[_Piece]] = []
    pieces: list[_Piece] = []
    filled = 0

    def close() -> None:
        nonlocal pieces, filled
        if pieces:
            groups.append(pieces)
        pieces, filled = [], 0

    for block, size in zip(document.blocks, sizes, strict=True):
        budget = limit - _context_tokens(document.title, pieces[0].block if pieces else block, limit, count)
        heading = block.kind == "heading"
        if heading and any(piece.block.kind != "heading" for piece in pieces):
            close()
        if size <= budget:
            if filled + size > budget:
                # Headings at the end go over to what they stand above.
                kept = len(pieces)
                while kept and pieces[kept - 1].block.kind == "heading":
                    kept -= 1
                moved = pieces[kept:] if sum(piece.tokens for piece in pieces[kept:]) + size <= budget else []
                pieces = pieces[: len(pieces) - len(moved)]
                close()
                pieces, filled = list(moved), sum(piece.tokens for piece in moved)
            pieces.append(_Piece(block.start, block.end, size, block))
            filled += size
            continue
        if not all(piece.block.kind == "heading" for piece in pieces):
            close()
        room = max(budget - filled, budget // 2, 1)
        for part in _balanced(_cut(text, block, room, count), room):
            pieces += part
            close()
    close()
    return groups


def _cut(text: str, block: Block, limit: int, count: Count) -> list[_Piece]:
    """A block that is too long, as its sentences or lines, and words of those that are themselves too long."""
    lines = block.kind in ("code", "table")
    spans = line_spans(text, block.start, block.end) if lines else sentence_spans(text, block.start, block.end)
    return _sized(text, block, spans, limit, count, split=_words)


def _sized(
    text: str,
    block: Block,
    spans: Sequence[Span],
    limit: int,
    count: Count,
    *,
    split: Callable[[str, Span], list[Span]],
) -> list[_Piece]:
    pieces: list[_Piece] = []
    for span, tokens in zip(spans, count([text[start:end] for start, end in spans]), strict=True):
        if tokens <= limit or span[1] - span[0] == 1:
            pieces.append(_Piece(*span, tokens, block))
        else:
            pieces += _sized(text, block, split(text, span), limit, count, split=_halves)
    return pieces


def _words(text: str, span: Span) -> list[Span]:
    return [found.span() for found in _WORD.finditer(text, *span)]


def _halves(text: str, span: Span) -> list[Span]:
    middle = (span[0] + span[1]) // 2
    return [(span[0], middle), (middle, span[1])]


def _balanced(pieces: Sequence[_Piece], limit: int) -> list[list[_Piece]]:
    """The pieces in parts of about equal size, each within the limit, rather than full ones and a scrap."""
    total = sum(piece.tokens for piece in pieces)
    target = total / max(1, -(-total // limit))
    parts: list[list[_Piece]] = [[]]
    filled = 0
    for piece in pieces:
        over = filled + piece.tokens
        if parts[-1] and (over > limit or over - target > target - filled):
            parts.append([])
            filled = 0
        parts[-1].append(piece)
        filled += piece.tokens
    return [part for part in parts if part]


def _fitting(document: Structured, pieces: Sequence[_Piece], limit: int, count: Count) -> list[Chunk]:
    """The chunk of these pieces, or several where they are too much for one."""
    start, end = pieces[0].start, pieces[-1].end
    bodies = [piece for piece in pieces if piece.block.kind != "heading"]
    body = bodies[0].start if bodies else end
    headings = _common([piece.block.headings for piece in bodies or pieces])
    shown = _common([piece.block.headings for piece in pieces])
    title = "" if document.title in document.text[start:body] else document.title
    context = _fitting_context(_path(title, shown), limit, count)
    tokens = count([embedded(document.text, start, end, context)])[0]
    if tokens <= limit:
        return [Chunk(start, end, body, headings, context, tokens)]
    if len(pieces) > 1:
        half = len(pieces) // 2
        return [c for part in (pieces[:half], pieces[half:]) for c in _fitting(document, part, limit, count)]
    if context:
        bare = Chunk(start, end, body, headings, (), count([document.text[start:end]])[0])
        if bare.tokens <= limit:
            return [bare]
    if end - start == 1:  # one character that the encoder makes more tokens of than it reads: nothing is left to cut
        return [Chunk(start, end, body, headings, (), tokens)]
    block = pieces[0].block
    halves = [_Piece(a, b, 0, block) for a, b in _halves(document.text, (start, end))]
    return [c for half_piece in halves for c in _fitting(document, [half_piece], limit, count)]


def _common(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The headings that all have in common."""
    shared: list[str] = []
    for level in zip(*paths, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return tuple(shared)


def _path(title: str, headings: tuple[str, ...]) -> tuple[str, ...]:
    """The title and the headings; the title isn't said twice where the first heading is it."""
    return headings if not title or headings[:1] == (title,) else (title, *headings)


def _fitting_context(path: tuple[str, ...], limit: int, count: Count) -> tuple[str, ...]:
    """As much of the path as may stand before a chunk: the outermost go first."""
    while path and count([" > ".join(path) + "\n"])[0] > limit // _CONTEXT:
        path = path[1:]
    return path


def _context_tokens(title: str, block: Block, limit: int, count: Count) -> int:
    path = _fitting_context(_path(title, block.headings), limit, count)
    return count([" > ".join(path) + "\n"])[0] if path else 0
