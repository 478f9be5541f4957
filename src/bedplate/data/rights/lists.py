"""The files that list what is to be left out, in their three spellings."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path

from bedplate.data.rights.entries import FORMAT, KINDS, Kind, entry
from bedplate.errors import InputError

_LONGEST_LINE = 1 << 20


def halves(line: str, where: str, bare: Kind | None) -> tuple[str, str]:
    """Kind and value of `domain=a.org`. Raises InputError, naming `where`."""
    kind, equals, value = line.partition("=")
    if equals and kind.strip().lower() in KINDS:
        return kind.strip().lower(), value
    if bare is not None:
        return bare, line
    raise InputError(f"{where}: {line[:80]!r} doesn't say what to match by", FORMAT)


def read_list(path: Path, bare: Kind | None) -> Iterator[tuple[Kind, str]]:
    """Checked entries. `bare`: what a line without `kind=` is. Raises InputError, naming file and line."""
    name = path.name.removesuffix(".gz")
    rows = _csv if name.endswith(".csv") else _json_lines if name.endswith((".jsonl", ".ndjson")) else None
    try:
        with (
            gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream,
            io.TextIOWrapper(stream, encoding="utf-8-sig") as lines,
        ):
            yield from _plain(path, lines, bare) if rows is None else rows(path, lines)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file", "Check the path of the list.") from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}", "A list is a UTF-8 text file, CSV or JSON Lines.") from error


def _plain(path: Path, lines: io.TextIOWrapper, bare: Kind | None) -> Iterator[tuple[Kind, str]]:
    for number, line in _lines(path, lines):
        where = f"{path} line {number}"
        yield entry(*halves(line, where, bare), where)


def _json_lines(path: Path, lines: io.TextIOWrapper) -> Iterator[tuple[Kind, str]]:
    for number, line in _lines(path, lines):
        where = f"{path} line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: no JSON: {error}", "Write an object a line.") from error
        if not isinstance(row, dict):
            raise InputError(f"{where}: no JSON object", "Write an object a line.")
        yield from _of_row({str(key): value for key, value in row.items()}, where)


def _csv(path: Path, lines: io.TextIOWrapper) -> Iterator[tuple[Kind, str]]:
    reader = csv.DictReader(lines)
    try:
        columns = [column.strip().lower() for column in reader.fieldnames or ()]
        if not set(columns) & set(KINDS):
            raise InputError(f"{path} line 1: no column {', '.join(KINDS)} (columns: {', '.join(columns)})", FORMAT)
        reader.fieldnames = columns
        for row in reader:
            yield from _of_row(row, f"{path} line {reader.line_num}")
    except csv.Error as error:
        raise InputError(f"{path} line {reader.line_num}: {error}", "Check the quotes.") from error


def _of_row(row: dict[str, object], where: str) -> Iterator[tuple[Kind, str]]:
    found = [(kind, row[kind]) for kind in KINDS if row.get(kind) not in (None, "")]
    if not found:
        raise InputError(f"{where}: none of {', '.join(KINDS)} is given", FORMAT)
    for kind, value in found:
        if not isinstance(value, str):
            raise InputError(f"{where}: {kind} is {value!r}, no string", FORMAT)
        yield entry(kind, value, where)


def _lines(path: Path, lines: io.TextIOWrapper) -> Iterator[tuple[int, str]]:
    number = 0
    while line := lines.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE and not line.endswith("\n"):
            raise InputError(f"{path} line {number}: longer than {_LONGEST_LINE:,} characters", FORMAT)
        if (line := line.strip()) and not line.startswith("#"):
            yield number, line
