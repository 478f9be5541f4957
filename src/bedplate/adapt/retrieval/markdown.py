"""The blocks of a Markdown document, found line by line; its text stays what it is.

CommonMark's blocks (https://spec.commonmark.org/0.31.2/) as far as cutting a document needs them: headings of both
kinds, fenced and indented code, list items, tables (GitHub's), front matter. Quotations count as paragraphs.
"""

from __future__ import annotations

import re

from bedplate.adapt.retrieval.blocks import Block, BlockKind, Outline, Structured

_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+\S")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*\Z")
_RULE = re.compile(r" {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})\Z")
_DELIMITER = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-*:?[ \t]*)*\Z")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()]*\)")
_LONGEST_HEADING = 200


def markdown_blocks(text: str) -> Structured:
    """A Markdown document. Its title is that of its front matter, else its first heading where that is of level 1."""
    reader = _Reader(text)
    reader.read()
    return Structured(text, reader.title, tuple(reader.blocks))


class _Reader:
    def __init__(self, text: str) -> None:
        self.blocks: list[Block] = []
        self.title = ""
        self._text = text
        self._outline = Outline()
        self._kind: BlockKind | None = None  # of the block that is being read
        self._start = self._end = 0
        self._fence: str | None = None
        self._blank = True

    def read(self) -> None:
        lines = self._text.splitlines(keepends=True)
        at = self._front_matter(lines)
        offset = sum(len(line) for line in lines[:at])
        for number in range(at, len(lines)):
            line = lines[number]
            following = lines[number + 1] if number + 1 < len(lines) else ""
            self._line(line.rstrip(), following.rstrip(), offset, offset + len(line.rstrip()))
            offset += len(line)
        self._close()

    def _front_matter(self, lines: list[str]) -> int:
        """Lines of YAML between --- and --- at the very top: one block, which may say the title."""
        if not lines or lines[0].rstrip() != "---":
            return 0
        for number, line in enumerate(lines[1:200], 1):
            if line.startswith("title:"):
                self.title = line.removeprefix("title:").strip().strip("\"'")[:_LONGEST_HEADING]
            if line.rstrip() in ("---", "..."):
                length = sum(len(line) for line in lines[: number + 1])
                if number > 1:
                    self.blocks.append(Block(0, len(self._text[:length].rstrip()), "code"))
                return number + 1
        self.title = ""
        return 0

    def _line(self, line: str, following: str, start: int, end: int) -> None:
        blank, self._blank = self._blank, not line
        if self._fence is not None:
            self._end = max(self._end, end)
            bare = line.strip()
            if (
                len(line) - len(line.lstrip(" ")) < 4
                and bare.startswith(self._fence)
                and not bare.strip(self._fence[0])
            ):
                self._fence = None
                self._close()
            return
        if not line:
            if self._kind != "item":
                self._close(unless="code")
            return
        if (fence := _FENCE.match(line)) and not ("`" in fence[1] and "`" in line[fence.end() :]):
            self._open("code", start, end)
            self._fence = fence[1]
            return
        indent = len(line.expandtabs(4)) - len(line.expandtabs(4).lstrip())
        if self._kind == "code" and indent >= 4:
            self._end = end
            return
        if self._kind == "code":
            self._close()
        if indent < 4 and self._heading(line, start, end):
            return
        if self._kind == "paragraph" and (setext := _SETEXT.match(line)):
            self._setext(1 if "=" in setext[1] else 2, end)
        elif _RULE.match(line):
            self._close()
        elif _ITEM.match(line) and not (self._kind == "paragraph" and indent >= 4):
            self._open("item", start, end)
        elif self._kind == "item" and (not blank or indent >= 2):
            self._end = end
        elif self._kind in (None, "item") and blank and indent >= 4:
            self._open("code", start, end)
        elif self._kind == "table" and "|" in line:
            self._end = end
        elif "|" in line and "-" in following and _DELIMITER.match(following) and "|" in following:
            self._open("table", start, end)
        elif self._kind == "paragraph":
            self._end = end
        else:
            self._open("paragraph", start, end)

    def _heading(self, line: str, start: int, end: int) -> bool:
        bare = line.strip()
        level = len(bare) - len(bare.lstrip("#"))
        rest = bare[level:]
        if not 1 <= level <= 6 or (rest and not rest.startswith((" ", "\t"))):
            return False
        closed = rest.rstrip("#")
        text = heading_text(closed if closed != rest and closed[-1:].isspace() else rest)
        self._close()
        if text:
            lead = len(self._text[start:end]) - len(self._text[start:end].lstrip())
            self._head(level, text, start + lead, end)
        return True

    def _setext(self, level: int, end: int) -> None:
        text, start = heading_text(self._text[self._start : self._end]), self._start
        self._kind = None
        self._head(level, text, start, end)

    def _head(self, level: int, text: str, start: int, end: int) -> None:
        if level == 1 and not self.title and not any(block.kind == "heading" for block in self.blocks):
            self.title = text
        self.blocks.append(Block(start, end, "heading", self._outline.above(level)))
        self._outline.enter(level, text)

    def _open(self, kind: BlockKind, start: int, end: int) -> None:
        self._close()
        line = self._text[start:end]
        lead = 0 if kind == "code" else len(line) - len(line.lstrip())
        self._kind, self._start, self._end = kind, start + lead, end

    def _close(self, *, unless: BlockKind | None = None) -> None:
        if self._kind is not None and self._kind != unless:
            self.blocks.append(Block(self._start, self._end, self._kind, self._outline.path))
            self._kind = None


def heading_text(raw: str) -> str:
    """A heading as a reader sees it: one line, without marks of emphasis, code and links."""
    short = " ".join(raw[: 4 * _LONGEST_HEADING].split())
    return _LINK.sub(r"\1", short).replace("`", "").replace("**", "").strip("*_ ")[:_LONGEST_HEADING]
