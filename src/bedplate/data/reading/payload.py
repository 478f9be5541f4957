"""What a page or file that came with a content type is: markup for the extractor, text, or neither."""

from __future__ import annotations

import re

from bedplate.data.documents import Document
from bedplate.data.reading.guard import charset_known
from bedplate.data.reading.limits import Limits

_MARKUP = re.compile(r"text/html|application/(xhtml\+xml|vnd\.wap\.xhtml\+xml)")
_TEXT = re.compile(r"text/(plain|markdown|x-[\w.+-]+)")
_UNSAID = ("", "application/octet-stream", "unk", "unknown", "no-type", "application/x-unknown", "application/http")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_TAG = re.compile(rb"<(!doctype\s+html|html|head|body|meta|title|div|p|table|script|!--)\b", re.IGNORECASE)


def take(document: Document, data: bytes, content_type: str | None, limits: Limits, *, kind: str | None = None) -> None:
    """Give the document its text where that is plain to see, or the data where it has to be extracted; drop the rest.

    kind: the type as somebody found it, who looked; the declared one may lie.
    """
    found = (kind or content_type or "").partition(";")[0].strip().lower()
    document.content_type = content_type
    if found in _UNSAID:
        found = _sniffed(data)
        document.content_type = content_type if content_type not in (None, *_UNSAID) else found
    if found == "application/pdf" or data.startswith(b"%PDF-"):
        from bedplate.data.reading.pdf import take_pdf

        take_pdf(document, data, limits)
    elif _MARKUP.fullmatch(found):
        document.data = data
    elif _TEXT.fullmatch(found):
        document.text = plain_text(data, content_type)
        if document.text is None:
            document.drop("read", "not_text", f"not {charset(content_type) or 'utf-8'}")
    elif not data:
        document.text = ""
    else:
        document.drop("read", "not_text", found[:100] or "of no type that was said or seen")


def charset(content_type: str | None) -> str | None:
    """What the content type says of it."""
    found = _CHARSET.search(content_type or "")
    return found[1].lower() if found else None


def plain_text(data: bytes, content_type: str | None) -> str | None:
    """Text in the encoding that is declared, or UTF-8; None where it is in neither."""
    for encoding in (charset(content_type), "utf-8-sig"):
        try:
            if encoding is not None and charset_known(encoding):
                return data.decode(encoding)
        except (LookupError, UnicodeError, ValueError):
            pass
    return None


def _sniffed(data: bytes) -> str:
    if data.startswith(b"%PDF-"):
        return "application/pdf"
    if _TAG.search(data[:2048]):
        return "text/html"
    if data and b"\0" not in data[:2048]:
        return "text/plain"
    return ""
