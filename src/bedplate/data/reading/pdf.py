"""PDF files: the text layer, page by page, as pdfium finds it. Nothing is recognised from pictures."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from bedplate.data.documents import Document
from bedplate.data.extra import require
from bedplate.data.reading.files import SourceFile
from bedplate.data.reading.guard import guarded, mended
from bedplate.data.reading.limits import Limits
from bedplate.data.reading.pdf_child import MEMORY
from bedplate.data.reading.pdf_process import SECONDS, PdfDiedError, pdf_process
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


def take_pdf(document: Document, data: bytes, limits: Limits, *, seconds: float = SECONDS) -> None:
    """Give the document the PDF's text, title and date; drop it without text, fail it where it is damaged, or where it
    asks for more memory or time than it is worth. Raises UserError where pypdfium2 is missing."""
    require("pypdfium2", "a PDF file")
    document.content_type = "application/pdf"
    with guarded(document):
        try:
            _fill(document, pdf_process().read(data, limits, seconds), limits)
        except PdfDiedError as error:
            document.fail("read", "reader_died", str(error))


def _fill(document: Document, found: dict[str, Any], limits: Limits) -> None:
    match found.get("error"):
        case None:
            _take(document, found, limits)
        case "encrypted":
            document.drop("read", "encrypted", "it asks for a password")
        case "too_large":
            document.drop("read", "too_large", f"it takes more than {MEMORY >> 20:,} MB to read")
        case "damaged_file":
            document.fail("read", "damaged_file", f"not a whole PDF: {found['words']}"[:300])
        case _:
            document.fail("read", "reader_error", mended(found["words"]))


def _take(document: Document, found: dict[str, Any], limits: Limits) -> None:
    pages, damaged = found["pages"], found["damaged"]
    document.metadata["pages"] = pages
    said = {key: mended(_HYPHEN.sub("", value)).replace("\0", "").strip() for key, value in found["said"].items()}
    document.title = said.get("Title") or None
    document.date = _iso(said.get("CreationDate", ""))
    for key in ("Author", "Subject", "Keywords"):
        if said.get(key):
            document.metadata[key.lower()] = said[key]
    if pages > limits.pages:
        document.drop("read", "too_large", f"{pages:,} pages")
        return
    if found["too_long"] is not None:
        what = f"more than {limits.largest:,} characters by page {found['too_long']}"
        document.drop("read", "too_large", what)
        return
    texts = [text for page in found["texts"] if (text := _cleaned(page))]
    if damaged:
        document.metadata["damaged_pages"] = damaged[:100]
    if texts:
        document.text = "\n\n".join(texts)
    elif damaged:
        document.fail("read", "damaged_file", f"none of its {pages} pages can be read")
    else:
        document.drop("read", "no_text", f"{pages} pages without a text layer")


def _cleaned(page: str) -> str:
    return mended(_HYPHEN.sub("", page)).replace("\r\n", "\n").replace("\0", "").strip()


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
