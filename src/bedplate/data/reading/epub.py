"""EPUB books (EPUB 2 and 3): the chapters in the order of the spine, joined as one page of HTML to be extracted."""

from __future__ import annotations

import errno
import hashlib
import html
import posixpath
import re
import zipfile
import zlib
from typing import BinaryIO
from urllib.parse import unquote
from xml.etree import ElementTree

from bedplate.data.documents import Document
from bedplate.data.reading.files import SourceFile
from bedplate.data.reading.guard import charset_known, guarded
from bedplate.data.reading.limits import Limits
from bedplate.data.reading.text import too_large

_CONTAINER = "{urn:oasis:names:tc:opendocument:xmlns:container}"
_OPF = "{http://www.idpf.org/2007/opf}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_BODY = re.compile(r"<body(?=[\s>/])", re.IGNORECASE)
_BODY_END = re.compile(r"</body(?=[\s>])", re.IGNORECASE)
_ENCODING = re.compile(rb"<\?xml[^>]{0,200}?encoding\s{0,20}=\s{0,20}[\"']([\w.:-]{1,40})")
_FONTS_ONLY = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
# Of the archive's list of its members: some 20,000 of them, of which `zipfile` makes ten times as much.
_LARGEST_LIST = 2 << 20
_LARGEST_XML = 4 << 20
# A chapter's markup may be several times its text.
_MARKUP = 4


class _BookError(ValueError):
    """The book can't be read."""


class _TooLargeError(Exception):
    """It comes to more than may be held, or to so much of so little that it is a bomb."""


def read_epub(file: SourceFile, limits: Limits) -> Document:
    """The book as data in HTML, with title, language, rights and date. Raises OSError."""
    if file.bytes > limits.container:
        return too_large(file.name, file.bytes)
    document = Document(file.name, None, bytes=file.bytes)
    with guarded(document), file.open() as stream:
        document.record_sha256 = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
        try:
            _fill(document, stream, limits)
        except _TooLargeError as error:
            document.drop("read", "too_large", str(error))
        except _BookError as error:
            document.fail("read", "damaged_file", f"not a whole EPUB: {error}")
        except OSError as error:
            if error.errno != errno.EINVAL:  # that is a place before the file's beginning, which a damaged list names
                raise
            document.fail("read", "damaged_file", "not a whole EPUB: its list of members is damaged")
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ElementTree.ParseError) as error:
            document.fail("read", "damaged_file", f"not a whole EPUB: {error}"[:300])
        except (RuntimeError, NotImplementedError, ValueError, OverflowError) as error:
            # What `zipfile` raises for passwords and for methods that it doesn't know.
            document.fail("read", "damaged_file", f"not an EPUB that can be read: {error}"[:300])
    return document


def _fill(document: Document, stream: BinaryIO, limits: Limits) -> None:
    bounded = _Bounded(stream)
    with zipfile.ZipFile(bounded) as archive:
        bounded.opened = True
        book = _Book(archive, min(_MARKUP * limits.largest, (1 << 20) + limits.unpacked * document.bytes))
        if book.encrypted():
            document.drop("read", "encrypted", "its chapters are encrypted")
            return
        package = book.package()
        _describe(document, package)
        parts = [f"<section>{chapter}</section>" for chapter in book.chapters(package)]
    if not parts:
        document.drop("read", "no_text", "its spine names no chapter")
        return
    language = f' lang="{html.escape(document.language)}"' if document.language else ""
    head = f"<head><meta charset='utf-8'><title>{html.escape(document.title or '')}</title></head>"
    page = f"<!DOCTYPE html><html{language}>{head}<body>" + "\n".join(parts) + "</body></html>"
    document.data = page.encode("utf-8", "replace")
    document.content_type = "text/html; charset=utf-8"
    document.metadata["chapters"] = len(parts)


class _Bounded:
    """A stream of which `ZipFile` can't take a list of members larger than is allowed; it reads the list at once."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.opened = False
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable

    def read(self, count: int = -1) -> bytes:
        if self.opened:
            return self._stream.read(count)
        data = self._stream.read(_LARGEST_LIST + 1 if count < 0 else min(count, _LARGEST_LIST + 1))
        if len(data) > _LARGEST_LIST:
            raise _TooLargeError("its list of members is too long")
        return data


class _Book:
    """Reads the members of the archive, which in all may come to `budget` bytes."""

    def __init__(self, archive: zipfile.ZipFile, budget: int) -> None:
        self._archive, self._left = archive, budget
        self._folder = ""

    def member(self, name: str) -> bytes:
        try:
            info = self._archive.getinfo(name)
        except KeyError as error:
            raise _BookError(f"it has no {name}") from error
        with self._archive.open(info) as stream:
            data = stream.read(self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise _TooLargeError("its chapters unpack to more than may be held")
        return data

    def encrypted(self) -> bool:
        if "META-INF/encryption.xml" not in self._archive.namelist():
            return False
        methods = _xml(self.member("META-INF/encryption.xml")).iter()
        used = [method.get("Algorithm", "") for method in methods if method.tag.endswith("EncryptionMethod")]
        return any(algorithm not in _FONTS_ONLY for algorithm in used)

    def package(self) -> ElementTree.Element:
        container = _xml(self.member("META-INF/container.xml"))
        found = container.find(f".//{_CONTAINER}rootfile")
        path = found.get("full-path") if found is not None else None
        if not path:
            raise _BookError("its container names no package")
        self._folder = posixpath.dirname(path)
        return _xml(self.member(path))

    def chapters(self, package: ElementTree.Element) -> list[str]:
        items = {item.get("id"): item for item in package.iter(f"{_OPF}item")}
        found = []
        for reference in package.iter(f"{_OPF}itemref"):
            item = items.get(reference.get("idref"))
            if item is None or "html" not in item.get("media-type", "") or "nav" in item.get("properties", "").split():
                continue
            path = posixpath.normpath(posixpath.join(self._folder, unquote(item.get("href", "").partition("#")[0])))
            text = _text(self.member(path))
            found.append(_body(text))
        return found


def _body(text: str) -> str:
    """What stands in the first body, up to the last that ends; a page without either is all body."""
    begin = _BODY.search(text)
    after = text.find(">", begin.end()) + 1 if begin is not None else 0
    if not after:
        return text
    ends = [end.start() for end in _BODY_END.finditer(text, after)]
    return text[after : ends[-1]] if ends else text


def _xml(data: bytes) -> ElementTree.Element:
    if len(data) > _LARGEST_XML:
        raise _TooLargeError(f"its package says {len(data):,} bytes of XML")
    if b"<!ENTITY" in data.replace(b"\0", b""):  # in UTF-16 too
        raise _BookError("its XML declares entities, by which a small file may come to a huge one")
    return ElementTree.fromstring(data)


def _text(data: bytes) -> str:
    declared = _ENCODING.match(data.removeprefix(b"\xef\xbb\xbf"))
    encodings = ["utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"]
    if declared is not None:
        encodings += [name] if charset_known(name := declared[1].decode()) else []
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except (LookupError, UnicodeError):
            continue
    return data.decode("utf-8", "replace")


def _describe(document: Document, package: ElementTree.Element) -> None:
    def said(name: str) -> list[str]:
        values = (" ".join((element.text or "").split()) for element in package.iter(_DC + name))
        return [value for value in values if value]

    document.title = next(iter(said("title")), None)
    document.language = next(iter(said("language")), None)
    document.license = next(iter(said("rights")), None)
    document.date = next(iter(said("date")), None)
    for field in ("creator", "publisher", "identifier", "description", "subject"):
        if values := said(field):
            document.metadata[field] = values if len(values) > 1 else values[0]
