"""The extract step: documents that are fetched pages get their text, title and metadata; texts are mended."""

from __future__ import annotations

from collections.abc import Mapping

from bedplate.data.documents import Document
from bedplate.data.extra import require
from bedplate.data.extract.charset import Decoded, decode
from bedplate.data.extract.config import ExtractConfig
from bedplate.data.extract.content import content_of
from bedplate.data.extract.depth import deeper_than, seems_deeper_than
from bedplate.data.extract.main_text import DEEPEST, main_text
from bedplate.data.extract.page import page_metadata, tags_of
from bedplate.data.extract.repair import repairer
from bedplate.data.extract.source_code import is_source_code
from bedplate.data.rights.page_signals import signals_of

STAGE = "extract"


def step(config: ExtractConfig) -> ExtractStep:
    """Raises UserError where a library is missing."""
    return ExtractStep(config)


class ExtractStep:
    """Reasons: `too_large`, `unsupported_type`, `too_deep` and `no_text` are dropped, `extraction_error` has failed."""

    name = STAGE
    columns: Mapping[str, str] = {}

    def __init__(self, config: ExtractConfig) -> None:
        self._config = config
        self._main_text = main_text(config)
        self._parse = require("resiliparse.parse.html", "an HTML page").HTMLTree.parse
        self._repair = repairer() if config.repair else None

    def __call__(self, documents: list[Document]) -> None:
        """Gives text to those that have data instead; lets the data go."""
        for document in documents:
            if document.text is None:
                try:
                    self._extract(document)
                # One page must not end the run, whatever a library makes of it.
                except Exception as error:
                    document.fail(STAGE, "extraction_error", f"{type(error).__name__}: {error}"[:500])
                document.data = None
            if document.text is not None and self._repair is not None and not is_source_code(document):
                document.text = self._repair(document.text)

    def _extract(self, document: Document) -> None:
        data = document.data
        if data is None:
            document.fail(STAGE, "extraction_error", "it has neither text nor data")
            return
        content_type = document.content_type or document.headers.get("content-type")
        content = content_of(data, content_type)
        if content == "other":
            document.drop(STAGE, "unsupported_type", content_type or "it says no type, and doesn't look like HTML")
        elif len(data) > self._config.largest_html:
            document.drop(STAGE, "too_large", f"{len(data):,} bytes, above largest_html={self._config.largest_html:,}")
        elif content == "text":
            decoded = decode(data, content_type)
            document.metadata |= {"charset": decoded.charset, "charset_from": decoded.declared}
            self._give(document, decoded.text)
        else:
            self._page(document, decode(data, content_type))

    def _page(self, document: Document, page: Decoded) -> None:
        tree = self._parse(page.text)
        limit = DEEPEST[self._config.extractor]
        cheap = self._config.extractor == "resiliparse" or seems_deeper_than(limit, page.text)
        if cheap and deeper_than(limit, page.text, tree):
            document.drop(STAGE, "too_deep", f"its elements nest more than {limit:,} deep")
            return
        tags = tags_of(tree)
        title, metadata = page_metadata(tree, document.url, document.headers, tags)
        rights = signals_of(tree, document.headers, metadata.get("json_ld", ()), tags.metas).as_metadata()
        document.title = document.title or title
        document.metadata |= metadata
        document.metadata |= {
            "charset": page.charset,
            "charset_from": page.declared,
            "extractor": self._config.extractor,
        }
        if rights:
            document.metadata["rights"] = rights
        self._give(document, self._main_text(page.text, tree))

    def _give(self, document: Document, text: str) -> None:
        text = text.replace("\0", "").strip()
        if text:
            document.text = text + "\n"
        else:
            document.drop(STAGE, "no_text")
