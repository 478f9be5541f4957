"""HTML to text with its structure: headings, paragraphs, list items, code as it stands, tables by rows.

Parsed by selectolax (Lexbor), which follows the HTML standard whatever the page looks like. The text is what the index
stores and what spans of an HTML document refer to.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bedplate.adapt.retrieval.blocks import Block, BlockKind, Outline, Structured
from bedplate.adapt.retrieval.extra import selectolax_parser

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_UNSEEN_TAGS = (
    "script style noscript template svg math iframe object embed canvas audio video map head nav select textarea"
)
_INLINE_TAGS = (
    "a abbr acronym b bdi bdo big br button cite code data del dfn em font i ins kbd label mark q rp rt ruby s samp "
    "small span strike strong sub sup time tt u var wbr output img input"
)
_UNSEEN, _INLINE = frozenset(_UNSEEN_TAGS.split()), frozenset(_INLINE_TAGS.split())
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_ITEMS = frozenset({"li", "dt", "dd"})
_CODE = frozenset({"pre", "xmp", "listing"})
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)")
# Elements that have no end tag, or may do without one because the next of their kind ends them.
_ENDLESS_TAGS = (
    "area base br col embed hr img input link meta source track wbr p li dt dd tr td th option optgroup thead tbody "
    "tfoot colgroup rp rt html head body"
)
_ENDLESS = frozenset(_ENDLESS_TAGS.split())
_DEEPEST = 2000
_BREAK = "\u2028"  # Unicode's line separator, for <br>: line ends in the source mean nothing
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)


def html_charset(data: bytes) -> str | None:
    """The encoding that a page declares in its first kilobyte; None where it declares none that Python knows."""
    found = _CHARSET.search(data[:1024])
    if found is None:
        return None
    try:
        name = codecs.lookup(found[1].decode("ascii")).name
    except LookupError:
        return None
    # What calls itself Latin-1 is Windows-1252 (WHATWG Encoding Standard, 4.2); UTF-16 can't be declared in ASCII.
    return {"iso8859-1": "cp1252", "ascii": "cp1252", "utf-16": "utf-8"}.get(name, name)


def too_deep(page: str) -> bool:
    """Whether elements nest so deeply that parsing them would take for ever: its time grows with the depth squared."""
    depth = 0
    for end, name in _TAG.findall(page):
        if name.lower() not in _ENDLESS:
            depth = max(0, depth - 1) if end else depth + 1
            if depth > _DEEPEST:
                return True
    return False


def html_blocks(page: str) -> Structured:
    """The text of a page and its blocks. Scripts, styles, navigation, form fields and hidden elements are left out."""
    root = selectolax_parser()(page).root
    writer = _Writer()
    if root is not None:
        _walk(root, writer)
    writer.end()
    return Structured("".join(writer.parts), writer.title or writer.first_heading, tuple(writer.blocks))


def _walk(root: LexborNode, writer: _Writer) -> None:
    """Depth first without recursion: a page may be nested deeper than Python's stack."""
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        node, leaving = stack.pop()
        tag = node.tag or ""
        if leaving:
            writer.leave(tag)
            continue
        if tag == "-text":
            writer.say(node.text_content or "")
            continue
        if tag.startswith("-") and tag != "-document":
            continue
        if tag == "head":
            title = node.css_first("title")
            writer.title = " ".join(title.text().split())[:200] if title is not None else ""
            continue
        attributes = node.attributes
        if tag in _UNSEEN or "hidden" in attributes or attributes.get("aria-hidden") == "true":
            continue
        if tag == "img":
            writer.say(attributes.get("alt") or "")
            continue
        writer.enter(tag)
        stack.append((node, True))
        children = []
        child = node.first_child
        while child is not None:
            children.append((child, False))
            child = child.next
        stack += reversed(children)


@dataclass
class _Writer:
    """Writes text and notes blocks as elements open and close."""

    title: str = ""
    first_heading: str = ""
    parts: list[str] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    _length: int = 0
    _run: list[str] = field(default_factory=list)  # words of the block under way
    _kind: BlockKind = "paragraph"
    _outline: Outline = field(default_factory=Outline)
    _pre: int = 0
    _tables: int = 0
    _rows: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self._run.append(text)

    def enter(self, tag: str) -> None:
        if tag == "br":
            self._run.append(_BREAK)
        elif tag == "table":
            if not self._tables:
                self._flush()
            self._tables += 1
        elif self._tables:
            if tag == "tr":
                self._row()
            elif tag not in _INLINE and tag not in ("td", "th"):
                self._run.append(" ")
        elif tag in _CODE:
            self._flush()
            self._pre += 1
            self._kind = "code"
        elif tag not in _INLINE and not self._pre:
            self._flush()
            self._kind = "heading" if tag in _HEADINGS else "item" if tag in _ITEMS else self._kind_within(tag)

    def leave(self, tag: str) -> None:
        if tag == "table":
            self._tables -= 1
            if not self._tables:
                self._table()
        elif self._tables:
            if tag in ("td", "th"):
                self._run.append("\t")
            elif tag == "tr":
                self._row()
        elif tag in _CODE:
            self._flush()
            self._pre -= 1
            self._kind = "paragraph"
        elif tag in _HEADINGS:
            self._head(_HEADINGS[tag])
        elif tag not in _INLINE and not self._pre:
            self._flush()
            self._kind = "paragraph"

    def end(self) -> None:
        self._flush()
        if self.parts:
            self.parts.append("\n")

    def _kind_within(self, tag: str) -> BlockKind:
        """A paragraph in a list item is still the item's."""
        return "item" if self._kind == "item" and tag in ("p", "div") else "paragraph"

    def _row(self) -> None:
        cells = [" ".join(cell.split()) for cell in "".join(self._run).split("\t")]
        self._run.clear()
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            self._rows.append(" | ".join(cells))

    def _table(self) -> None:
        self._row()
        rows, self._rows = self._rows, []
        self._write("\n".join(rows), "table")
        self._kind = "paragraph"

    def _head(self, level: int) -> None:
        text = " ".join("".join(self._run).split())
        self._run.clear()
        self._kind = "paragraph"
        above = self._outline.above(level)
        if text:
            self.first_heading = self.first_heading or text[:200]
            self._write(text, "heading", above)
            self._outline.enter(level, text[:200])

    def _flush(self) -> None:
        raw = "".join(self._run)
        self._run.clear()
        if self._kind == "code":
            lines = [line.rstrip() for line in raw.replace(_BREAK, "\n").expandtabs(4).splitlines()]
            while lines and not lines[0]:
                lines.pop(0)
            text = "\n".join(lines).rstrip()
        else:
            text = "\n".join(line for part in raw.split(_BREAK) if (line := " ".join(part.split())))
        self._write(f"- {text}" if self._kind == "item" and text else text, self._kind)

    def _write(self, text: str, kind: BlockKind, headings: tuple[str, ...] | None = None) -> None:
        if not text:
            return
        if self.parts:
            tight = kind == "item" and self.blocks[-1].kind == "item"
            self._put("\n" if tight else "\n\n")
        start = self._length
        self._put(text)
        self.blocks.append(Block(start, self._length, kind, self._outline.path if headings is None else headings))

    def _put(self, text: str) -> None:
        self.parts.append(text)
        self._length += len(text)
