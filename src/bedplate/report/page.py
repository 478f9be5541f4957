"""`Page`: one HTML file that needs nothing else, neither network nor script, now or in ten years.

Its content security policy forbids every outside resource, so that even markup smuggled past `escape` could load
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bedplate.report.markup import Markup, escape
from bedplate.report.quantities import number_text
from bedplate.report.style import STYLE

Cell = str | int | float | bool | None
"""What a table holds: text (Markup as it is), numbers, yes or no, or nothing (None)."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


@dataclass
class Branch:
    """A node of a tree: its text, a remark in small type, and what hangs below it."""

    text: str
    note: str = ""
    below: list[Branch] = field(default_factory=list)


class Page:
    """A page being written, from top to bottom: each method adds a piece below the last. `html()` gives the whole."""

    def __init__(self, title: str, subtitle: str | None = None) -> None:
        self._title = title
        self._subtitle = subtitle
        self._body: list[str] = []
        self._contents: list[tuple[str, str]] = []

    def heading(self, text: str, level: int = 2) -> None:
        """A heading of level 2 (listed in the contents) or 3."""
        if level not in (2, 3):
            raise ValueError(f"heading level {level}: a page has levels 2 and 3 below its title")
        if level == 3:
            self._body.append(f"<h3>{escape(text)}</h3>")
            return
        name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"
        anchor = f"{name}-{len(self._contents) + 1}"
        self._contents.append((anchor, text))
        self._body.append(f'<h2 id="{anchor}">{escape(text)}</h2>')

    def text(self, text: str) -> None:
        """A paragraph."""
        self._body.append(f"<p>{escape(text)}</p>")

    def warning(self, text: str) -> None:
        """A paragraph that stands out: something to know before believing what follows."""
        self._body.append(f'<p class="warning" role="note">{escape(text)}</p>')

    def code(self, text: str) -> None:
        """Text as it is, in a fixed width."""
        # A browser drops one newline right after <pre>, so one that belongs to the text needs another.
        newline = "\n" if text.startswith("\n") else ""
        self._body.append(f"<pre>{newline}{escape(text)}</pre>")

    def facts(self, facts: Mapping[str, Cell]) -> None:
        """Names and their values, one a row."""
        if facts:
            rows = "".join(f'<tr><th scope="row">{escape(k)}</th><td>{_cell(v)}</td></tr>' for k, v in facts.items())
            self._body.append(f'<div class="scroll"><table class="facts"><tbody>{rows}</tbody></table></div>')

    def table(
        self,
        headers: Sequence[str],
        rows: Iterable[Sequence[Cell]],
        caption: str | None = None,
        right: Collection[str] = (),
    ) -> None:
        """A table. Columns that hold only numbers, and those named in `right`, are set to the right."""
        cells = [list(row) for row in rows]
        for row in cells:
            if len(row) != len(headers):
                raise ValueError(f"a row of {len(row)} cells under {len(headers)} headers: {row!r}")
        sides = [
            ' class="number"' if name in right or (cells and all(_is_number(row[i]) for row in cells)) else ""
            for i, name in enumerate(headers)
        ]
        head = "".join(f'<th scope="col"{side}>{escape(h)}</th>' for h, side in zip(headers, sides, strict=True))
        lines = ("".join(f"<td{side}>{_cell(v)}</td>" for v, side in zip(row, sides, strict=True)) for row in cells)
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        title = f"<caption>{escape(caption)}</caption>" if caption else ""
        self._body.append(
            f'<div class="scroll"><table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        )

    def figure(self, picture: Markup, caption: str | None = None) -> None:
        """A plot of `report.plots` with the words below it."""
        if not isinstance(picture, Markup):
            raise TypeError("a figure is Markup made by report.plots, never a plain string")
        words = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        self._body.append(f"<figure>{picture}{words}</figure>")

    def tree(self, roots: Sequence[Branch]) -> None:
        """Nested lists."""
        self._body.append(f'<ul class="tree">{"".join(_branch(root) for root in roots)}</ul>')

    def fold(self, summary: str, inside: Page) -> None:
        """Another page's pieces, folded away until somebody opens them. Its title and contents aren't used."""
        self._body.append(f"<details><summary>{escape(summary)}</summary>{''.join(inside._body)}</details>")

    def html(self) -> str:
        """The whole file."""
        contents = ""
        if len(self._contents) > 3:
            items = "".join(f'<li><a href="#{anchor}">{escape(text)}</a></li>' for anchor, text in self._contents)
            contents = f'<nav aria-label="Contents"><ul>{items}</ul></nav>'
        subtitle = f'<p class="subtitle">{escape(self._subtitle)}</p>' if self._subtitle else ""
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self._title)}</title><style>{STYLE}</style></head>\n<body><main>"
            f"<header><h1>{escape(self._title)}</h1>{subtitle}</header>\n{contents}\n"
            + "\n".join(self._body)
            + "\n<footer>Made by Bedplate.</footer></main></body></html>\n"
        )


def _cell(value: Cell) -> str:
    if value is None:
        return '<span class="note">–</span>'
    return escape(value if isinstance(value, str) else number_text(value))


def _is_number(value: Cell) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _branch(branch: Branch) -> str:
    below = f"<ul>{''.join(_branch(b) for b in branch.below)}</ul>" if branch.below else ""
    note = f' <span class="note">{escape(branch.note)}</span>' if branch.note else ""
    return f"<li>{escape(branch.text)}{note}{below}</li>"
