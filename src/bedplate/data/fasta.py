"""FASTA: sequences under header lines that begin with `>` (Pearson and Lipman 1988), plain or gzipped."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_BLOCK = 1 << 20
_LETTERS = re.compile(rb"[A-Za-z*-]*")


@dataclass(frozen=True)
class Sequence:
    """One sequence: its place in the file from 1, the first word of its header, and its letters in upper case, None
    where there are more than `largest` or where what stands there isn't letters. bytes: letters in the file."""

    number: int
    name: str
    letters: str | None
    bytes: int
    is_text: bool = True


class FastaError(ValueError):
    """The file doesn't begin with a header, or ends in the middle of its compression."""


def fasta_sequences(path: Path, largest: int) -> Iterator[Sequence]:
    """The sequences of a file, in order; of a longer one than `largest` letters only the length is kept, so that a
    compressed file that would fill the memory can't. Raises FastaError, OSError."""
    number, name, parts, size = 0, "", list[bytes](), 0
    try:
        with _opened(path) as stream:
            while line := stream.readline(_BLOCK):
                begins = line.startswith(b">")
                if begins:
                    if number:
                        yield _sequence(number, name, parts, size, largest)
                    number, parts, size = number + 1, [], 0
                    words = line[1:].split(maxsplit=1)
                    name = words[0].decode("utf-8", "replace") if words else ""
                    while line and not line.endswith(b"\n"):
                        line = stream.readline(_BLOCK)
                    continue
                letters = line.strip()
                if not number and letters:
                    raise FastaError("its first line is no header, which begins with >")
                size += len(letters)
                if size <= largest:
                    parts.append(letters)
    except (EOFError, gzip.BadGzipFile) as error:
        raise FastaError(f"damaged gzip after sequence {number}: {error}") from error
    if number:
        yield _sequence(number, name, parts, size, largest)


def _opened(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else path.open("rb")  # type: ignore[return-value]


def _sequence(number: int, name: str, parts: list[bytes], size: int, largest: int) -> Sequence:
    if size > largest:
        return Sequence(number, name, None, size)
    letters = b"".join(parts)
    if not _LETTERS.fullmatch(letters):
        return Sequence(number, name, None, size, is_text=False)
    return Sequence(number, name, letters.decode("ascii").upper(), size)
