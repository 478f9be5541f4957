"""The pages of a Parquet column as their own headers tell of them (Apache Parquet, parquet.thrift: PageHeader).

What the footer says of sizes is whatever its writer put there, and a dictionary's one value may stand in a million
rows; so how many rows can be held at a time is told from the pages before any is unpacked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

LARGEST_PAGE = 64 << 20
"""Bytes that a page may unpack to, and a dictionary to half of them."""
LARGEST_FOOTER = 32 << 20
_HELD = 64 << 20
_BATCH = 256
_LARGEST_DICTIONARY = 4 << 20
_LARGEST_PREFIXED = 8 << 20
_HEADER = 1 << 12
_LARGEST_HEADER = 16 << 20
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2, _DELTA_BYTE_ARRAY = 0, 2, 3, 7
# The field of a page's header that holds what goes with its kind.
_HEADERS = {_DATA_PAGE: 5, _DICTIONARY_PAGE: 7, _DATA_PAGE_V2: 8}


class PageError(ValueError):
    """The pages can't be read, or come to more than may be held."""


@dataclass(frozen=True)
class Plan:
    """How a row group is to be read: rows at a time, and the columns whose values are to stay in their dictionary."""

    rows: int
    dictionaries: tuple[str, ...]


@dataclass(frozen=True)
class Chunk:
    """A column of a row group: its path, where its pages begin, and how many values they hold."""

    path: str
    start: int
    values: int


def chunks(stream: BinaryIO) -> list[list[Chunk]]:
    """The columns of each row group, by the file's footer. pyarrow isn't asked: where the footer is damaged, its
    answer may be to end the process. Raises PageError, OSError."""
    end = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, end - 8))
    size = int.from_bytes(stream.read(4), "little")
    if size > min(LARGEST_FOOTER, end - 8):
        raise PageError(f"a footer of {size:,} bytes")
    stream.seek(end - 8 - size)
    try:
        footer, _ = _struct(stream.read(size), 0, 0)
        return [[_chunk(column[3]) for column in group[1]] for group in footer.get(4, [])]
    except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise PageError("a damaged footer") from error


def _chunk(facts: dict[int, Any]) -> Chunk:
    path = b".".join(facts[3]).decode()
    start, dictionary, values = int(facts[9]), int(facts.get(11) or 0), int(facts[5])
    return Chunk(path, min(start, dictionary) if dictionary > 0 else start, values)


def plan(stream: BinaryIO, group: Sequence[Chunk], columns: Sequence[str]) -> Plan:
    """For a row group's columns, of which those named are wanted. Raises PageError, OSError."""
    rows, dictionaries = _BATCH, list[str]()
    for column in group:
        path = column.path
        if path.partition(".")[0] not in columns:
            continue
        repeated = 0
        for kind, size, encoding in _pages(stream, column):
            if size > (LARGEST_PAGE // 2 if kind == _DICTIONARY_PAGE else LARGEST_PAGE):
                raise PageError(f"a page of {path} unpacks to {size:,} bytes")
            if encoding == _DELTA_BYTE_ARRAY and size > _LARGEST_PREFIXED:
                raise PageError(f"values of {path} may repeat {size:,} bytes of one another")
            if kind == _DICTIONARY_PAGE and size > _LARGEST_DICTIONARY:
                dictionaries.append(path)
            elif kind == _DICTIONARY_PAGE or encoding == _DELTA_BYTE_ARRAY:
                repeated = max(repeated, size)
        rows = min(rows, max(1, _HELD // max(repeated, 1)))
    return Plan(rows, tuple(dictionaries))


def _pages(stream: BinaryIO, column: Chunk) -> Iterator[tuple[int, int, int]]:
    """Kind, unpacked size and encoding of each page of a column chunk."""
    at, left = column.start, column.values
    if at < 0:
        raise PageError("pages that begin before the file does")
    while left > 0:
        header, size = _header(stream, at)
        kind, unpacked, packed = header.get(1), header.get(2), header.get(3)
        if not (isinstance(kind, int) and isinstance(unpacked, int) and isinstance(packed, int)):
            raise PageError("a page without a size")
        if unpacked < 0 or packed < 0:
            raise PageError("a page of a size below none")
        data = header.get(_HEADERS.get(kind, 0), {})
        values, encoding = (
            (data.get(1), data.get(4 if kind == _DATA_PAGE_V2 else 2)) if isinstance(data, dict) else (0, 0)
        )
        yield kind, unpacked, encoding if isinstance(encoding, int) else 0
        if kind != _DICTIONARY_PAGE and isinstance(values, int):
            left -= max(values, 0)
        at += size + packed


def _header(stream: BinaryIO, at: int) -> tuple[dict[int, Any], int]:
    """The fields of the page header there, and its size."""
    window = _HEADER
    while True:
        stream.seek(at)
        data = stream.read(window)
        try:
            return _struct(data, 0, 0)
        except IndexError as error:
            if len(data) < window or window >= _LARGEST_HEADER:
                raise PageError("a page's header breaks off") from error
            window *= 16


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """Thrift's compact protocol: {field: number, bytes, list or struct}, and where it ends. Raises IndexError."""
    fields: dict[int, Any] = {}
    field = 0
    while (head := data[at]) != 0:
        at += 1
        if head >> 4:
            field += head >> 4
        else:
            field, at = _zigzag(data, at)
        fields[field], at = _value(data, at, head & 15, depth)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if depth > 16:
        raise PageError("a page's header is nested too deeply")
    match kind:
        case 1 | 2:
            return kind == 1, at
        case 3:
            return data[at], at + 1
        case 4 | 5 | 6:
            return _zigzag(data, at)
        case 7:
            return None, at + 8
        case 8:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise IndexError
            return data[at : at + size], at + size
        case 9 | 10:
            head, at = data[at], at + 1
            count = head >> 4
            if count == 15:
                count, at = _varint(data, at)
            values = []
            for _ in range(count):
                value, at = _value(data, at, 3 if head & 15 in (1, 2) else head & 15, depth + 1)
                values.append(value)
                if at > len(data):
                    raise IndexError
            return values, at
        case 12:
            return _struct(data, at, depth + 1)
    raise PageError("a page's header holds what no header holds")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise PageError("a number in a page's header doesn't end")


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at
