"""The pages of a Parquet column as their own headers tell of them (Apache Parquet, parquet.thrift: PageHeader).

What the footer says of sizes is whatever its writer put there, and a dictionary's one value may stand in a million
rows; so how many rows can be held at a time is told from the pages before any is unpacked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

LARGEST_PAGE = 64 << 20
"""Bytes that a page may unpack to, and a dictionary to half of them."""
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


def plan(stream: BinaryIO, parquet: Any, number: int, columns: list[str]) -> Plan:
    """For pyarrow's reader, one of its row groups, and the columns wanted. Raises PageError, OSError."""
    rows, dictionaries = _BATCH, list[str]()
    group, schema = parquet.metadata.row_group(number), parquet.schema
    if group.num_columns != len(schema):
        raise PageError("a row group that hasn't the columns of its table")
    for leaf in range(group.num_columns):
        # The column itself, asked for its path, ends the process where the footer is damaged.
        path = schema.column(leaf).path
        if path.partition(".")[0] not in columns:
            continue
        column = group.column(leaf)
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


def _pages(stream: BinaryIO, column: Any) -> Iterator[tuple[int, int, int]]:
    """Kind, unpacked size and encoding of each page of a column chunk."""
    start = column.data_page_offset
    if column.dictionary_page_offset:
        start = min(start, column.dictionary_page_offset)
    at, left = start, column.num_values
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
    """Thrift's compact protocol: {field: number or struct}, and where it ends. Raises IndexError where data ends."""
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
            return None, at + size
        case 9 | 10:
            head, at = data[at], at + 1
            count = head >> 4
            if count == 15:
                count, at = _varint(data, at)
            for _ in range(count):
                at = at + 1 if head & 15 in (1, 2) else _value(data, at, head & 15, depth + 1)[1]
                if at > len(data):
                    raise IndexError
            return None, at
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
