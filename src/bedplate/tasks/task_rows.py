"""Rows of a task file: JSON Lines, CSV or TSV, read strictly, each with the line of the file that it begins on."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedplate.errors import InputError

MOST_CHARACTERS = 131_072
"""Longest field: an example isn't a book, and a quote that is never closed would swallow the rest of the file."""

_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"PK": "a zip archive or spreadsheet", b"\x1f\x8b": "gzip"}
_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}


@dataclass(frozen=True)
class Row:
    """One row. line: where it begins in its file, from 1 (so a CSV's first row stands on line 2)."""

    line: int
    fields: dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """All rows of a file, told by its name (.csv, .tsv, else JSON Lines). Raises InputError naming file and line."""
    text = _text(path)
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        rows = list(_separated(path, text, "\t" if suffix == ".tsv" else ","))
    else:
        rows = list(_json_lines(path, text))
    if not rows:
        raise InputError(f"{path}: no rows in it", "Give a file of examples, one a row.")
    for row in rows:
        for name, value in row.fields.items():
            if isinstance(value, str) and len(value) > MOST_CHARACTERS:
                raise InputError(
                    f'{path} line {row.line}: the field "{name}" has {len(value):,} characters, more than '
                    f"{MOST_CHARACTERS:,}",
                    "Cut it into examples of its own, or take it out.",
                )
    return rows


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such task file", "Check the path.") from None
    except IsADirectoryError:
        raise InputError(f"{path}: a folder, where a task file is needed", "Give a JSONL or CSV file.") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}", "Check the file's permissions.") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        guess = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)
        looks = f"; it looks like {guess}" if guess else ""
        raise InputError(
            f"{path} line {line}: not UTF-8 (byte {error.start:,}){looks}", "Save the file as UTF-8."
        ) from error


def _json_lines(path: Path, text: str) -> Iterator[Row]:
    # Not splitlines: a JSON string may hold U+2028 and its like as they are.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except RecursionError:
            raise InputError(f"{path} line {number}: JSON nested too deeply", "Repair the line.") from None
        except json.JSONDecodeError as error:
            raise InputError(
                f"{path} line {number}: not JSON: {error.msg.removesuffix(' at')} (column {error.colno})",
                "Repair the line. A file of another form than JSON Lines is told by its name: .csv or .tsv."
                if number == 1
                else "Repair the line.",
            ) from error
        except ValueError as error:  # a number of too many digits
            raise InputError(f"{path} line {number}: not JSON: {error}", "Repair the line.") from error
        if not isinstance(value, dict):
            raise InputError(
                f"{path} line {number}: not a JSON object", 'Write one object a line: {"text": ..., "label": ...}'
            )
        yield Row(number, value)


def _separated(path: Path, text: str, separator: str) -> Iterator[Row]:
    reader = csv.reader(_lines(text), delimiter=separator, strict=True)
    header: list[str] | None = None
    begins = 1
    try:
        for cells in reader:
            line, begins = begins, reader.line_num + 1
            if not cells:
                continue
            if header is None:
                header = _header(path, cells, separator)
                continue
            if len(cells) != len(header):
                raise InputError(
                    f"{path} line {line}: {len(cells)} fields where the header has {len(header)} ({', '.join(header)})",
                    f"Repair the row: a text that holds {_SEPARATORS[separator]} or line breaks is set in double "
                    "quotes.",
                )
            yield Row(line, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        if "field limit" in str(error):
            raise InputError(
                f"{path} line {begins}: a field longer than {MOST_CHARACTERS:,} characters",
                "Repair the row: a double quote before it may not be closed.",
            ) from error
        raise InputError(
            f"{path} line {begins}: not CSV: {error}",
            "Repair the row: quotes inside a quoted field are doubled, and each quote is closed.",
        ) from error


def _lines(text: str) -> Iterator[str]:
    """The lines with their ends. csv counts by what it is fed, so a bare carriage return is no line's end."""
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end + 1
        yield text[start:end]
        start = end


def _header(path: Path, cells: list[str], separator: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    if len(names) == 1:
        other = next((s for s in _SEPARATORS if s != separator and s in names[0]), None)
        if other is not None:
            raise InputError(
                f"{path} line 1: one field, {names[0]!r}, which looks separated by {_SEPARATORS[other]}",
                "Save it separated by commas (.csv) or tabs (.tsv), with a header of field names.",
            )
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path} line 1: the header has {name!r} twice", "Give each field a name of its own.")
    return names
