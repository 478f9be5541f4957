"""PDF files: the text layer, page by page, as pdfium finds it. Nothing is recognised from pictures."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from bedplate.data.documents import Document
from bedplate.data.extra import require
from bedplate.data.reading.files import SourceFile
from bedplate.data.reading.limits import Limits
from bedplate.data.reading.text import load

_DATE = re.compile(r"(?:D:)?(\d{4})(\d\d)?(\d\d)?(?:(\d\d)(\d\d)(\d\d)?)?(Z|[+-]00'?00'?)?")
# What pdfium puts where a hyphen ends a line within a word.
_HYPHEN = re.compile(r"[\x02\ufffe](?:\r?\n)?")


def read_pdf(file: SourceFile, limits: Limits) -> Document:
    """The document. Raises OSError; UserError where pypdfium2 is missing."""
    data = load(file, limits.container)
    if isinstance(data, Document):
        return data
    document = Document(file.name, None, bytes=len(data), record_sha256=hashlib.sha256(data).hexdigest())
    take_pdf(document, data, limits)
    return document


def take_pdf(document: Document, data: bytes, limits: Limits) -> None:
    """Give the document the PDF's text, title and date; drop it without text, fail it where it is damaged."""
    pdfium = require("pypdfium2", "a PDF file")
    document.content_type = "application/pdf"
    try:
        pdf = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        if "password" in str(error).lower():
            document.drop("read", "encrypted", "it asks for a password")
        else:
            document.fail("read", "damaged_file", f"not a whole PDF: {error}")
        return
    try:
        _fill(document, pdf, pdfium.PdfiumError, limits)
    finally:
        pdf.close()


def _fill(document: Document, pdf: Any, error_type: type[Exception], limits: Limits) -> None:
    pages = len(pdf)
    document.metadata["pages"] = pages
    said = {key: _HYPHEN.sub("", value).replace("\0", "").strip() for key, value in pdf.get_metadata_dict().items()}
    document.title = said.get("Title") or None
    document.date = _iso(said.get("CreationDate", ""))
    for key in ("Author", "Subject", "Keywords"):
        if said.get(key):
            document.metadata[key.lower()] = said[key]
    if pages > limits.pages:
        document.drop("read", "too_large", f"{pages:,} pages")
        return
    texts, size, damaged = [], 0, []
    for number in range(pages):
        try:
            text = _page(pdf, number)
        except error_type:
            damaged.append(number + 1)
            continue
        size += len(text)
        if size > limits.largest:
            document.drop("read", "too_large", f"more than {limits.largest:,} characters by page {number + 1}")
            return
        if text.strip():
            texts.append(text.strip())
    if damaged:
        document.metadata["damaged_pages"] = damaged[:100]
    if texts:
        document.text = "\n\n".join(texts)
    elif damaged:
        document.fail("read", "damaged_file", f"none of its {pages} pages can be read")
    else:
        document.drop("read", "no_text", f"{pages} pages without a text layer")


def _page(pdf: Any, number: int) -> str:
    page = pdf[number]
    try:
        layer = page.get_textpage()
        try:
            text: str = layer.get_text_range(errors="replace")
        finally:
            layer.close()
    finally:
        page.close()
    return _HYPHEN.sub("", text).replace("\r\n", "\n").replace("\0", "")


def _iso(stamp: str) -> str | None:
    """PDF's date (ISO 32000, 7.9.4): the day; with the time where it is in UTC."""
    found = _DATE.match(stamp)
    if found is None:
        return None
    year, month, day, hour, minute, second, zone = found.groups()
    if day is None:
        return year if month is None else f"{year}-{month}"
    if zone is None or hour is None:
        return f"{year}-{month}-{day}"
    return f"{year}-{month}-{day}T{hour}:{minute}:{second or '00'}Z"
