"""A page's main text, by one of two libraries."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from bedplate.data.extra import require
from bedplate.data.extract.blocks import read_blocks
from bedplate.data.extract.boilerplate import without_boilerplate
from bedplate.data.extract.config import ExtractConfig
from bedplate.data.extract.markdown import as_markdown, as_text

if TYPE_CHECKING:
    from resiliparse.parse.html import HTMLTree

MainText = Callable[[str, "HTMLTree"], str]
"""(page, the same parsed) -> its main text, empty where there is none."""

DEEPEST = {"resiliparse": 2000, "trafilatura": 250}
"""Elements within each other: resiliparse's time grows with the square, trafilatura's parser cuts off the rest."""


def main_text(config: ExtractConfig) -> MainText:
    """The extractor of the configuration. Raises UserError where its library is missing."""
    return _by_resiliparse(config) if config.extractor == "resiliparse" else _by_trafilatura(config)


def _by_resiliparse(config: ExtractConfig) -> MainText:
    extract = require("resiliparse.extract.html2text", "extractor=resiliparse").extract_plain_text
    write = as_markdown if config.format == "markdown" else as_text

    def text(page: str, tree: HTMLTree) -> str:
        reduced = extract(
            tree,
            main_content=True,
            preserve_formatting="minimal_html",
            links=True,
            alt_texts=False,
            comments=config.comments,
        )
        blocks = read_blocks(reduced, links=config.links)
        return write(without_boilerplate(blocks, comments=config.comments) if config.boilerplate else blocks)

    return text


def _by_trafilatura(config: ExtractConfig) -> MainText:
    extract = require("trafilatura", "extractor=trafilatura").extract
    # They say of every odd page what our own counts say in short.
    for library in ("trafilatura", "htmldate", "courlan", "justext"):
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)

    def text(page: str, tree: HTMLTree) -> str:
        found = extract(
            page,
            fast=True,
            output_format="markdown" if config.format == "markdown" else "txt",
            include_comments=config.comments,
            include_tables=config.tables,
            include_links=config.links,
            deduplicate=False,
        )
        return found or ""

    return text
