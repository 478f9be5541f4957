"""Rows of examples out of a JSON Lines, JSON, Parquet, CSV or TSV file, each with the place where it stood."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bedplate.errors import InputError
from bedplate.tasks.task_rows import read_rows as read_task_rows

SUFFIXES = (".jsonl", ".json", ".parquet", ".csv", ".tsv")


class Row(NamedTuple):
    """A row's values by key, and its place for messages to people: "chats.jsonl line 12"."""

    values: dict[str, Any]
    place: str


def read_rows(path: str | Path) -> Iterator[Row]:
    """The rows of one file, in order, told by its suffix. JSON, CSV and TSV files are in memory as a whole.

    Raises InputError, naming file and row, for what can't be read; nothing is skipped.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path}: its rows can't be told", f"Give a file named {', '.join('*' + s for s in SUFFIXES)}."
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file", "Correct the path.")
    readers = {".jsonl": _jsonl, ".json": _json, ".parquet": _parquet, ".csv": _separated, ".tsv": _separated}
    try:
        found = False
        for row in readers[suffix](path):
            found = True
            yield row
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror or error}", "Make it readable.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8: {error}", "Convert it to UTF-8.") from error
    if not found:
        raise InputError(f"{path}: no rows in it", "Give a file that has some.")


def _jsonl(path: Path) -> Iterator[Row]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            place = f"{path} line {number}"
            try:
                values = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (ValueError, RecursionError) as error:
                raise InputError(f"{place}: not JSON: {error}", "Repair the line, or take it out.") from error
            yield _object(values, place)


def _json(path: Path) -> Iterator[Row]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: not JSON: {error}", "Repair it; one object a line needs the suffix .jsonl."
        ) from error
    if not isinstance(rows, list):
        raise InputError(f"{path}: not an array of rows", "Give a JSON array of objects.")
    for number, values in enumerate(rows, 1):
        yield _object(values, f"{path} row {number}")


def _separated(path: Path) -> Iterator[Row]:
    for row in read_task_rows(path):
        yield Row(row.fields, f"{path} line {row.line}")


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(values, f"{path} row {number}")
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a whole Parquet file: {error}", "Take an undamaged copy.") from error


def _object(values: Any, place: str) -> Row:
    if not isinstance(values, dict):
        raise InputError(f"{place}: not a JSON object", "Write each row as {...}.")
    return Row(values, place)
