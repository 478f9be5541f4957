"""The plan of reading: which files, and parts of files, are read by one task. A pure function of the files as found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from bedplate.data.reading.files import SourceFile
from bedplate.data.reading.kinds import kind_of
from bedplate.data.source import Source
from bedplate.errors import InputError

_MOST_FILES = 2048
MOST_DOCUMENTS = 200_000
"""Lines or rows that one task is given: what later steps hold of a shard grows with its documents, not its bytes."""


@dataclass(frozen=True)
class Piece:
    """What one task reads: whole files, or a part of one.

    start, stop: the part, as bytes that begin and end lines of a JSON Lines file, or as row groups of a Parquet file;
    None: all. rows: of these row groups only the rows [first, last). before: how many lines or rows come before it, so
    that names and messages are those of the whole file. bytes: what it comes to, for the progress.
    """

    files: tuple[SourceFile, ...]
    bytes: int
    start: int = 0
    stop: int | None = None
    before: int = 0
    rows: tuple[int, int] | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "files": [file.to_json() for file in self.files],
            "bytes": self.bytes, "start": self.start, "stop": self.stop, "before": self.before,
            "rows": None if self.rows is None else list(self.rows),
        }  # fmt: skip

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Piece:
        files = tuple(SourceFile.from_json(file) for file in values["files"])
        rows = values["rows"] and tuple(values["rows"])
        return cls(**{**values, "files": files, "rows": rows})


def pieces(
    source: Source, files: Iterable[SourceFile], target_bytes: int = 64 << 20, most_documents: int = MOST_DOCUMENTS
) -> list[Piece]:
    """The pieces, in the files' order: small files together, large JSON Lines and Parquet files in parts of about
    `target_bytes`, and of no more than `most_documents` lines or rows.

    For that JSON Lines files are read through once, to count their lines. Any other file is whole: a crawl, and what
    can't be entered in its middle (gzipped lines, FASTA, Arrow, a text with `separator`). One task streams through it,
    with a batch of documents in memory. Its shard has as many rows as it has documents, of which later steps hold some
    numbers each: 500,000 documents of one separated text took 22 MiB more of every process than 50,000 did, with exact
    duplicates looked for.
    """
    found: list[Piece] = []
    small: list[SourceFile] = []
    held = documents = 0
    for file in files:
        parts = list(_parts(source, file, target_bytes, most_documents))
        whole = len(parts) == 1 and parts[0][0].stop is None
        more = parts[0][1]
        full = held + file.bytes > target_bytes or documents + more > most_documents or len(small) == _MOST_FILES
        if small and (full or not whole):
            found.append(Piece(tuple(small), held))
            small, held, documents = [], 0, 0
        if whole:
            small.append(file)
            held += file.bytes
            documents += more
        else:
            found += [part for part, _ in parts]
    return [*found, Piece(tuple(small), held)] if small else found


def _parts(source: Source, file: SourceFile, target: int, most: int) -> Iterator[tuple[Piece, int]]:
    """The file's parts, one or more, each with its lines or rows; 1 for what isn't counted."""
    kind = kind_of(source, file)
    if kind in ("parquet", "corpus"):
        yield from _row_groups(file, target, most)
    elif kind == "jsonl" and file.url is None and not file.gzipped:
        yield from _lines(file, target, most)
    else:
        yield Piece((file,), file.bytes), 1


def _lines(file: SourceFile, target: int, most: int) -> Iterator[tuple[Piece, int]]:
    """Parts that end with the first line end behind each multiple of `target`, or with the line `most`."""
    start = before = lines = offset = 0
    try:
        with file.open() as stream:
            while block := stream.read(1 << 20):
                at = 0
                while end := _end(block, at, start + target - offset - 1, before + most - lines):
                    lines += block.count(b"\n", at, end)
                    yield Piece((file,), offset + end - start, start, offset + end, before), lines - before
                    start, before, at = offset + end, lines, end
                lines += block.count(b"\n", at)
                offset += len(block)
    except OSError:  # whoever reads it tells why
        pass
    if offset > start or not start:
        yield Piece((file,), file.bytes - start, start, None, before), lines - before + 1


def _end(block: bytes, at: int, full: int, left: int) -> int:
    """Behind the line end in the block, from `at` on, with which a part ends: the first one from `full` on, or the
    one by which `left` lines are full; 0 if there is none."""
    end = block.find(b"\n", max(at, full)) + 1 if full < len(block) else 0
    if block.count(b"\n", at, end or len(block)) < left:
        return end
    place = at - 1
    for _ in range(left):
        place = block.find(b"\n", place + 1)
    return place + 1


def _row_groups(file: SourceFile, target: int, most: int) -> Iterator[tuple[Piece, int]]:
    from bedplate.data.reading.parquet import open_parquet

    try:
        metadata = open_parquet(file).metadata
    except InputError:  # whoever reads it tells why
        yield Piece((file,), file.bytes), 1
        return
    groups = [
        (metadata.row_group(n).num_rows, metadata.row_group(n).total_byte_size) for n in range(metadata.num_row_groups)
    ]
    parts = _cut(groups, target, most)
    if len(parts) <= 1 or not metadata.num_rows:
        yield Piece((file,), file.bytes), metadata.num_rows
        return
    before = given = 0
    for first, last, rows in parts:
        count = rows[1] - rows[0] if rows else sum(group[0] for group in groups[first:last])
        share = file.bytes * (before + count) // metadata.num_rows - given
        yield Piece((file,), share, first, last, before, rows), count
        before, given = before + count, given + share


def _cut(groups: list[tuple[int, int]], target: int, most: int) -> list[tuple[int, int, tuple[int, int] | None]]:
    """Row groups, given as (rows, bytes), in parts (first, last, rows of one that is cut itself).

    What is held of a group when it is read is what it unpacks to, so those are the bytes that count.
    """
    parts: list[tuple[int, int, tuple[int, int] | None]] = []
    first = rows = size = 0
    for number, (more, bytes_) in enumerate(groups):
        if number > first and rows + more > most:
            parts.append((first, number, None))
            first, rows, size = number, 0, 0
        if more > most:  # then it is the first one of its part
            parts += [(number, number + 1, (row, min(row + most, more))) for row in range(0, more, most)]
            first = number + 1
            continue
        rows, size = rows + more, size + bytes_
        if size >= target or number == len(groups) - 1:
            parts.append((first, number + 1, None))
            first, rows, size = number + 1, 0, 0
    return parts
