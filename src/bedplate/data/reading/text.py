"""Text files: whole, in pieces between separators, and what is text at all."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator

from bedplate.data.documents import Document
from bedplate.data.reading.files import SourceFile
from bedplate.data.reading.limits import Limits


def decode(data: bytes, *, python: bool = False) -> str | None:
    """The text of a file, or None if it isn't text: UTF-8, or for Python sources what they declare (PEP 263).

    A byte order mark is taken off; line ends stay as they are.
    """
    try:
        encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0] if python else "utf-8-sig"
        return data.decode(encoding)
    except (SyntaxError, UnicodeError, LookupError, ValueError):
        return None


def text_document(name: str, data: bytes, *, python: bool = False, offset: int | None = None) -> Document:
    """The document that these bytes are, dropped where they are no text."""
    document = Document(name, decode(data, python=python), bytes=len(data), offset=offset)
    if document.text is None:
        document.drop("read", "not_text")
    return document


def too_large(name: str, size: int, offset: int | None = None) -> Document:
    """A document of which only the size is known."""
    document = Document(name, None, bytes=size, offset=offset)
    document.drop("read", "too_large", f"{size:,} bytes")
    return document


def load(file: SourceFile, largest: int) -> bytes | Document:
    """A file's bytes; where there are more than `largest`, the dropped document that it makes. Raises OSError."""
    if file.bytes > largest:
        return too_large(file.name, file.bytes)
    with file.open() as stream:
        data = stream.read(largest + 1)
    # It grew, or its size was never known.
    return data if len(data) <= largest else too_large(file.name, len(data))


def read_whole(file: SourceFile, limits: Limits) -> Document:
    data = load(file, limits.largest)
    return data if isinstance(data, Document) else text_document(file.name, data, python=file.suffix in (".py", ".pyi"))


def read_separated(file: SourceFile, separator: str, limits: Limits) -> Iterator[Document]:
    """The pieces between separators, read a block at a time; a longer piece is told, and not held."""
    mark, rest, number, lost, offset = separator.encode(), b"", 0, 0, 0
    with file.open() as stream:
        while True:
            block = stream.read(1 << 20)
            rest += block
            pieces = rest.split(mark)
            rest = pieces.pop() if block else b""
            for piece in pieces:
                number += 1
                name, size = f"{file.name}#{number}", len(piece) + lost
                yield too_large(name, size, offset) if lost else text_document(name, piece, offset=offset)
                lost, offset = 0, offset + size + len(mark)
            if not block:
                return
            if len(rest) > limits.largest + len(mark):  # keep what may be the start of a separator
                lost += len(rest) - len(mark)
                rest = rest[-len(mark) :]
