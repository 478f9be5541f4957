"""What kind of thing was fetched: a page, plain text, or neither."""

from __future__ import annotations

import re
from typing import Literal

Content = Literal["html", "text", "other"]

_HTML = frozenset({"text/html", "application/xhtml+xml"})
_TEXT = frozenset({"text/plain", "text/markdown", "text/x-markdown"})
_UNSAID = frozenset({"", "application/octet-stream", "application/unknown", "unknown/unknown", "*/*"})
_BEGINS_LIKE_HTML = re.compile(
    rb"\s*(?:<!--.{0,500}?-->\s*)?<(?:!doctype html|html|head|body|title|script|style|div|p|h1|table|br|a|b|font)[\s>]",
    re.IGNORECASE | re.DOTALL,
)
_BEGINS_LIKE_ANOTHER = re.compile(
    rb"%PDF-|\x89PNG|GIF8[79]a|\xff\xd8\xff|RIFF....WEBP|PK\x03\x04|\x1f\x8b\x08|\x7fELF|OggS|ID3|\x00\x00\x00.ftyp",
    re.DOTALL,
)


def content_of(data: bytes, content_type: str | None) -> Content:
    """By the Content-Type that it was served with; where that says nothing, by its first bytes, as in the WHATWG MIME
    Sniffing Standard. What begins like a picture, an archive or a PDF is none of ours whatever it was served as."""
    said = (content_type or "").partition(";")[0].strip().lower()
    if _BEGINS_LIKE_ANOTHER.match(data[:32]):
        return "other"
    if said in _HTML:
        return "html"
    utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    if said in _TEXT:
        return "other" if b"\0" in data and not utf16 else "text"
    if said in _UNSAID and _BEGINS_LIKE_HTML.match(data[:1024].removeprefix(b"\xef\xbb\xbf")):
        return "html"
    return "other"
