"""Protocol Buffers' wire format, read without a schema or a library: fields in a message, sizes checked beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

Field: TypeAlias = "tuple[int, int | bytes]"
"""Number of the field; its content: an integer (the bytes of a fixed one too, little-endian) or bytes."""

_VARINT, _EIGHT, _SIZED, _FOUR = 0, 1, 2, 5


def fields(message: bytes) -> Iterator[Field]:
    """The fields of a message in their order. Raises ValueError where it isn't one, naming the byte."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise ValueError(f"a field without a number before byte {at}")
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == _SIZED:
            size, at = _varint(message, at)
        elif wire in (_EIGHT, _FOUR):
            size = 8 if wire == _EIGHT else 4
        else:
            raise ValueError(f"a field of wire type {wire} before byte {at}")
        if size > len(message) - at:
            raise ValueError(f"a field of {size} bytes at byte {at}, of {len(message)}")
        content = message[at : at + size]
        at += size
        yield number, content if wire == _SIZED else int.from_bytes(content, "little")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at == len(message):
            raise ValueError(f"it ends inside a number, at byte {at}")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise ValueError(f"a number of more than ten bytes before byte {at}")
