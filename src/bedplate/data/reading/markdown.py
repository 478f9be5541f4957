"""Markdown files: the text as it stands, without the front matter, whose fields become the document's."""

from __future__ import annotations

import hashlib
import re

from bedplate.data.documents import Document
from bedplate.data.reading.files import SourceFile
from bedplate.data.reading.front_matter import split_front_matter
from bedplate.data.reading.guard import guarded
from bedplate.data.reading.limits import Limits
from bedplate.data.reading.text import load, text_document

_HEADING = re.compile(r"^ {0,3}#[ \t]+(.+?)[ \t]*#*[ \t]*$|^(\S[^\n]{0,300})\r?\n=+[ \t]*$", re.MULTILINE)


def read_markdown(file: SourceFile, limits: Limits) -> Document:
    """The document. Raises OSError."""
    data = load(file, limits.largest)
    if isinstance(data, Document):
        return data
    document = text_document(file.name, data)
    document.record_sha256 = hashlib.sha256(data).hexdigest()
    if document.text is not None:
        with guarded(document):
            _fill(document, document.text)
    return document


def _fill(document: Document, text: str) -> None:
    fields, document.text = split_front_matter(text)
    if fields:
        document.metadata["front_matter"] = fields
    document.title = _said(fields, "title") or first_heading(document.text)
    document.date = _said(fields, "date", "published", "created")
    document.language = _said(fields, "lang", "language")
    document.license = _said(fields, "license", "licence")
    document.url = _said(fields, "url", "canonical_url", "permalink")


def first_heading(text: str) -> str | None:
    """The first heading of the first level, or None."""
    found = _HEADING.search(text)
    return (found[1] or found[2]).strip() if found else None


def _said(fields: dict[str, object], *names: str) -> str | None:
    for name in names:
        value = fields.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return str(value).strip()
    return None
