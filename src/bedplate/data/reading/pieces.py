"""The plan of reading: which files, and parts of files, are read by one task. A pure function of the files as found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from bedplate.data.reading.files import SourceFile
from bedplate.data.source import Source
from bedplate.errors import InputError

_MOST_FILES = 2048


@dataclass(frozen=True)
class Piece:
    """What one task reads: whole files, or a part of one.

    start, stop: the part, as bytes that begin and end lines of a JSON Lines file, or as row groups of a Parquet file;
    None: all. before: how many lines or rows come before it, so that names and messages are those of the whole file.
    bytes: what it comes to, for the progress.
    """

    files: tuple[SourceFile, ...]
    bytes: int
    start: int = 0
    stop: int | None = None
    before: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "files": [file.to_json() for file in self.files],
            "bytes": self.bytes, "start": self.start, "stop": self.stop, "before": self.before,
        }  # fmt: skip

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Piece:
        return cls(**{**values, "files": tuple(SourceFile.from_json(file) for file in values["files"])})


def pieces(source: Source, files: Iterable[SourceFile], target_bytes: int = 64 << 20) -> list[Piece]:
    """The pieces, in the files' order: small files together, large JSON Lines and Parquet files in parts of about
    `target_bytes`, any other file whole. A large JSON Lines file is read through once, to count its lines."""
    found: list[Piece] = []
    small: list[SourceFile] = []
    held = 0
    for file in files:
        parts = list(_parts(source, file, target_bytes)) if file.bytes > target_bytes else []
        if small and (parts or held + file.bytes > target_bytes or len(small) == _MOST_FILES):
            found.append(Piece(tuple(small), held))
            small, held = [], 0
        if parts:
            found += parts
        else:
            small.append(file)
            held += file.bytes
    return [*found, Piece(tuple(small), held)] if small else found


def _parts(source: Source, file: SourceFile, target: int) -> Iterator[Piece]:
    rows = source.place in ("jsonl", "parquet", "dataset", "corpus")
    if rows and file.name.lower().endswith(".parquet"):
        yield from _row_groups(file, target)
    elif rows and file.url is None and file.suffix == ".jsonl" and not file.name.lower().endswith(".gz"):
        yield from _lines(file, target)
    else:
        yield Piece((file,), file.bytes)


def _lines(file: SourceFile, target: int) -> Iterator[Piece]:
    """Parts that end with the first line end behind each multiple of `target`."""
    start = before = lines = offset = 0
    try:
        with file.open() as stream:
            while block := stream.read(1 << 20):
                at = 0
                while offset + len(block) >= start + target:
                    end = block.find(b"\n", max(at, start + target - offset - 1)) + 1
                    if not end:
                        break
                    lines += block.count(b"\n", at, end)
                    yield Piece((file,), offset + end - start, start, offset + end, before)
                    start, before, at = offset + end, lines, end
                lines += block.count(b"\n", at)
                offset += len(block)
    except OSError:  # whoever reads it tells why
        pass
    if offset > start or not start:
        yield Piece((file,), file.bytes - start, start, None, before)


def _row_groups(file: SourceFile, target: int) -> Iterator[Piece]:
    from bedplate.data.reading.parquet import open_parquet

    try:
        metadata = open_parquet(file).metadata
    except InputError:  # whoever reads it tells why
        yield Piece((file,), file.bytes)
        return
    first = before = rows = size = 0
    for group in range(metadata.num_row_groups):
        part = metadata.row_group(group)
        rows += part.num_rows
        # What is held of it when it is read is what it unpacks to.
        size += part.total_byte_size
        if size >= target or group == metadata.num_row_groups - 1:
            share = file.bytes * (group + 1 - first) // max(1, metadata.num_row_groups)
            yield Piece((file,), share, first, group + 1, before)
            first, before, size = group + 1, rows, 0
    if not metadata.num_row_groups:
        yield Piece((file,), file.bytes)
