"""Which encoding a fetched page is in, and its text.

The order is that of the HTML standard (13.2.3.2, the encoding sniffing algorithm): a byte order mark, then the
Content-Type header, then a <meta> in the first kilobyte, then what the bytes look like. Labels mean what the WHATWG
Encoding Standard says: "latin1" and "ascii" are windows-1252. Three departures, as pages are kept and not shown:

- bytes beyond ASCII that are valid UTF-8 are UTF-8 even where a one-byte encoding is declared: text in such an encoding
  is hardly ever valid UTF-8, and pages that call their UTF-8 something else are common;
- a declared encoding that can't decode the bytes is passed over for what they look like;
- labels that the standard maps to its "replacement" encoding, and UTF-7, count as undeclared.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Literal

from bedplate.data.extra import require

Declared = Literal["bom", "header", "meta", "detected", "default"]

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_PRESCAN = 1024
_META = re.compile(rb"<meta[^>]{0,500}?charset\s*=\s*[\"']?\s*([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_PARAMETER = re.compile(r"charset\s*=\s*[\"']?\s*([^\s\"';,]{1,40})", re.IGNORECASE)
_REPLACED = frozenset({"hz", "hz-gb-2312", "iso-2022-cn", "iso-2022-cn-ext", "iso-2022-kr", "utf-7", "replacement"})
_ONE_BYTE = re.compile(r"(iso8859|cp125|cp866|cp874|koi8|mac)")
_MOST_BROKEN = 0.01
_C1_OF_WINDOWS = {byte: chr(byte) for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}


@dataclass(frozen=True)
class Decoded:
    """A text, the encoding that it was in by Python's name, and what said so."""

    text: str
    charset: str
    declared: Declared


def decode(data: bytes, content_type: str | None = None) -> Decoded:
    """The text of a fetched page or text file. Never fails: bytes that mean nothing become U+FFFD."""
    for mark, charset in _BOMS:
        if data.startswith(mark):
            return Decoded(data[len(mark) :].decode(charset, "replace"), charset, "bom")
    utf8 = _as_utf8(data)
    for label, declared in _labels(data, content_type):
        named = encoding_of(label, in_meta=declared == "meta")
        if named is None:
            continue
        if utf8 is not None and (named == "utf-8" or (_ONE_BYTE.match(named) and not data.isascii())):
            return Decoded(utf8, "utf-8", declared)
        text = _decoded(data, named)
        if text.count("\ufffd") <= len(text) * _MOST_BROKEN:
            return Decoded(text, named, declared)
    if utf8 is not None:
        return Decoded(utf8, "utf-8", "default")
    guessed = require("resiliparse.parse.encoding", "an HTML page").detect_encoding(data)
    charset = encoding_of(guessed) or "utf-8"
    return Decoded(_decoded(data, charset), charset, "detected")


def encoding_of(label: str, *, in_meta: bool = False) -> str | None:
    """Python's name of the encoding that a label means by the Encoding Standard; None for labels that mean none."""
    name = label.strip().lower()
    if name in _REPLACED:
        return None
    mapped = require("resiliparse.parse.encoding", "an HTML page").map_encoding_to_html5
    found = mapped(name, fallback_utf8=False)
    if found is None:
        try:
            found = mapped(codecs.lookup(name).name, fallback_utf8=False)
        except (LookupError, ValueError):
            return None
    if found is None:
        return None
    charset = codecs.lookup(found).name
    # What can be read as ASCII up to here isn't UTF-16, whatever it says (HTML standard, 13.2.3.2).
    return "utf-8" if in_meta and charset.startswith("utf-16") else charset


def _labels(data: bytes, content_type: str | None) -> list[tuple[str, Declared]]:
    labels: list[tuple[str, Declared]] = []
    if content_type and (found := _PARAMETER.search(content_type)):
        labels.append((found[1], "header"))
    if meta := _META.search(_COMMENT.sub(b"", data[:_PRESCAN])):
        labels.append((meta[1].decode("ascii"), "meta"))
    return labels


def _as_utf8(data: bytes) -> str | None:
    """The text, if the bytes are valid UTF-8 but for a character cut off at the end."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return None


def _decoded(data: bytes, charset: str) -> str:
    if charset == "cp1252":
        # The standard gives the five bytes that Python leaves undefined as control characters.
        return codecs.charmap_decode(data, "replace", _windows_1252())[0]
    return data.decode(charset, "replace")


def _windows_1252() -> str:
    return "".join(_C1_OF_WINDOWS.get(byte) or bytes([byte]).decode("cp1252") for byte in range(256))
