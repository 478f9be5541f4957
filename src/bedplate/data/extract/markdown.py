"""Blocks as Markdown, or as bare text. The words stand as they are: nothing in them is escaped."""

from __future__ import annotations

from collections.abc import Sequence

from bedplate.data.extract.blocks import Block


def as_markdown(blocks: Sequence[Block]) -> str:
    """CommonMark with GitHub's tables, blocks parted by a blank line."""
    return "\n\n".join(_markdown(block) for block in blocks)


def as_text(blocks: Sequence[Block]) -> str:
    """The words alone, blocks parted by a blank line; cells of a table by tabs."""
    return "\n\n".join(block.text.replace("\t\t", "\t") for block in blocks)


def _markdown(block: Block) -> str:
    if block.kind == "heading":
        return f"{'#' * block.level} {block.text}"
    if block.kind == "list":
        return "\n".join(
            f"{'  ' * depth if number is None else '   ' * depth}{'-' if number is None else f'{number}.'} {line}"
            for line, number, depth in zip(block.lines, block.ordered, block.depths, strict=True)
        )
    if block.kind == "code":
        fence = "```"
        while fence in block.text:
            fence += "`"
        return f"{fence}\n{block.text}\n{fence}"
    if block.kind == "table":
        return _table(block)
    return block.text


def _table(block: Block) -> str:
    rows = [[cell.replace("|", "\\|") for cell in line.split("\t\t")] for line in block.lines]
    width = max(len(row) for row in rows)
    full = [row + [""] * (width - len(row)) for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in full]
    return "\n".join([lines[0], f"|{'---|' * width}", *lines[1:]])
