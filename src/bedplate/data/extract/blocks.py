"""`Block`: a heading, paragraph, list, code block or table of a page's main text, read from resiliparse's reduced HTML.

That is HTML with headings, paragraphs, lists, <pre>, <br> and links alone, its text escaped; what stood outside any of
these elements is bare, a line a row, the cells of a table's row parted by two tabs.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

Kind = Literal["heading", "paragraph", "list", "code", "table", "bare"]

_TOKEN = re.compile(r"<(/?)(h[1-6]|p|ul|ol|li|pre|br|a)\b([^>]*)>")
_HREF = re.compile(r'href="([^"]*)"')
_CELL = "\t\t"


@dataclass
class Block:
    """`lines`: of a list, an item each; of a table, a row each, cells parted by two tabs; of code, as they stand."""

    kind: Kind
    lines: list[str]
    level: int = 0
    """Of a heading, 1 to 6."""
    linked: float = 0.0
    """The share of its characters that are in links."""
    ordered: list[int | None] = field(default_factory=list)
    """Of a list's items: the number, None for a bullet."""
    depths: list[int] = field(default_factory=list)
    """Of a list's items: 0 for the outermost."""

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @cached_property
    def words(self) -> int:
        return len(self.text.split())


def read_blocks(reduced: str, *, links: bool = False) -> list[Block]:
    """The blocks in order, none of them empty. With `links`, a link in the text is `[words](address)`."""
    reader = _Reader(links)
    end = 0
    for found in _TOKEN.finditer(reduced):
        reader.say(reduced[end : found.start()])
        end = found.end()
        reader.tag(found[2], bool(found[1]), found[3])
    reader.say(reduced[end:])
    reader.end()
    return reader.blocks


class _Reader:
    def __init__(self, links: bool) -> None:
        self.blocks: list[Block] = []
        self._links = links
        self._run: list[str] = []
        self._kind: Kind = "bare"
        self._level = 0
        self._linked = 0
        self._hrefs: list[tuple[str, int]] = []
        self._lists: list[int | None] = []  # the open lists: the last number given, None where items have bullets
        self._list = Block("list", [])
        self._pre = False

    def say(self, escaped: str) -> None:
        if not escaped:
            return
        text = html.unescape(escaped) if "&" in escaped else escaped
        if self._hrefs:
            self._linked += len(text.strip())
        self._run.append(text)

    def tag(self, name: str, end: bool, attributes: str) -> None:
        if name == "br":
            self._run.append("\n")
        elif name == "a":
            self._link(end, attributes)
        elif name in ("ul", "ol"):
            self._enter_or_leave_list(name, end)
        elif self._lists:
            if name == "li":
                self._item()
            elif name == "pre":
                self._pre = not end
        elif end:
            self.flush()
        elif name != "li":
            self.flush()
            self._kind = "heading" if name[0] == "h" else "code" if name == "pre" else "paragraph"
            self._level = int(name[1]) if name[0] == "h" else 0
            self._pre = name == "pre"

    def end(self) -> None:
        """End everything that is open."""
        while self._lists:
            self._enter_or_leave_list("", True)
        self.flush()

    def flush(self) -> None:
        """End the block under way."""
        self._hrefs.clear()
        raw, kind, level, linked = "".join(self._run), self._kind, self._level, self._linked
        self._run.clear()
        self._kind, self._level, self._linked, self._pre = "bare", 0, 0, False
        if not raw or raw.isspace():
            return
        if kind == "code":
            lines = raw.expandtabs(4).rstrip().split("\n")
            while lines and not lines[0].strip():
                lines.pop(0)
            if lines:
                self.blocks.append(Block("code", [line.rstrip() for line in lines]))
        elif kind == "bare":
            self.blocks += _bare(raw, linked)
        else:
            lines = [line for part in raw.split("\n") if (line := " ".join(part.split()))]
            if kind == "heading":
                lines = [" ".join(lines)] if lines else []
            if lines:
                self.blocks.append(Block(kind, lines, level, _share(linked, lines)))

    def _link(self, end: bool, attributes: str) -> None:
        if not end:
            found = _HREF.search(attributes)
            self._hrefs.append((html.unescape(found[1]) if found else "", len(self._run)))
        elif self._hrefs:
            href, start = self._hrefs.pop()
            words = " ".join("".join(self._run[start:]).split())
            if self._links and words and href and not self._pre:
                self._run[start:] = [f"[{words}]({href.replace(' ', '%20').replace(')', '%29')})"]

    def _enter_or_leave_list(self, name: str, end: bool) -> None:
        if end and self._lists:
            self._item()
            self._lists.pop()
            if not self._lists:
                if self._list.lines:
                    self._list.linked = _share(self._linked, self._list.lines)
                    self.blocks.append(self._list)
                self._linked = 0
        if end:
            return
        if self._lists:
            self._item()
        else:
            self.flush()
            self._list = Block("list", [])
        self._lists.append(0 if name == "ol" else None)

    def _item(self) -> None:
        """What has been said since the last item is one."""
        text = " ".join("".join(self._run).split())
        self._run.clear()
        self._hrefs.clear()
        if text and self._lists:
            number = self._lists[-1]
            if number is not None:
                self._lists[-1] = number = number + 1
            self._list.lines.append(text)
            self._list.ordered.append(number)
            self._list.depths.append(len(self._lists) - 1)


def _bare(raw: str, linked: int) -> Iterator[Block]:
    """Paragraphs of text outside of elements, and tables: neighbouring rows of as many cells."""
    for part in re.split(r"\n[ \t]*\n", raw):
        lines = [line for line in part.split("\n") if line.strip()]
        while lines:
            cells = lines[0].count(_CELL)
            alike = next((i for i, line in enumerate(lines) if (line.count(_CELL) > 0) != (cells > 0)), len(lines))
            rows, lines = lines[:alike], lines[alike:]
            if cells and len(rows) > 1:
                yield Block("table", [_CELL.join(" ".join(c.split()) for c in row.split(_CELL)) for row in rows])
            else:
                tidy = [" ".join(row.split()) for row in rows]
                yield Block("bare", tidy, 0, _share(linked, [raw]))


def _share(linked: int, lines: list[str]) -> float:
    return min(1.0, linked / max(1, sum(len(line.strip()) for line in lines)))
