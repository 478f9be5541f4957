"""JSON Lines: each line an object, which is a document. Plain or gzipped, whole or a range of its bytes."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO, cast

from bedplate.data.documents import Document, Failure
from bedplate.data.reading.fields import describe, json_type
from bedplate.data.reading.files import SourceFile
from bedplate.data.reading.limits import Limits
from bedplate.data.reading.text import too_large
from bedplate.data.source import Source


def read_jsonl(
    source: Source, file: SourceFile, limits: Limits, start: int = 0, stop: int | None = None, before: int = 0
) -> Iterator[Document | Failure]:
    """The documents of the lines that begin at bytes [start, stop); `before` lines come before `start`."""
    # JSON may spell a byte of text with six characters (\u0041), and a line has other fields too.
    limit = 6 * limits.largest + (1 << 20)
    number, offset = before, start
    with file.open() as raw, closing(_unzipped(file, raw)) as stream:
        if start:
            stream.seek(start)
        while stop is None or offset < stop:
            try:
                line = stream.readline(limit)
                size = len(line)
                while size >= limit and not line.endswith(b"\n") and (line := stream.readline(limit)):
                    size += len(line)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                problem = f"damaged gzip after line {number}: {error}"
                fix = "Take an undamaged copy, or set on_error=skip to count it as failed and go on."
                yield Failure(f"{file.name}#{number + 1}", file.place, "damaged_file", problem, fix, bytes=file.bytes)
                return
            if not size:
                return
            number += 1
            name = f"{file.name}#{number}"
            if size > len(line):
                yield too_large(name, size, offset)
            elif line.strip():
                yield _parse_line(source, file, number, name, line, offset)
            offset += size


def _unzipped(file: SourceFile, stream: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if file.gzipped else stream


def _parse_line(
    source: Source, file: SourceFile, number: int, name: str, line: bytes, offset: int
) -> Document | Failure:
    place = f"{file.place} line {number}"
    skip = "or set on_error=skip to count such lines as failed and go on."

    def failure(reason: str, problem: str, fix: str) -> Failure:
        return Failure(name, place, reason, problem, fix, bytes=len(line))

    try:
        row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except RecursionError:
        return failure("corrupt_line", "JSON nested too deeply", f"Repair the line, {skip}")
    except json.JSONDecodeError as error:
        what = f"not JSON: {error.msg.removesuffix(' at')} (column {error.colno})"
        return failure("corrupt_line", what, f"Repair the line, {skip}")
    except ValueError as error:
        return failure("corrupt_line", f"not JSON: {error}", f"Repair the line, {skip}")
    if not isinstance(row, dict):
        return failure("corrupt_line", f"{json_type(row)}, not a JSON object", f"Repair the line, {skip}")
    present = ", ".join(map(str, list(row)[:20])) or "none"
    if source.text_field not in row:
        return failure(
            "missing_field",
            f'no field "{source.text_field}" (fields: {present})',
            f"Set text_field to the field that holds the text, {skip}",
        )
    text = row[source.text_field]
    if text is not None and not isinstance(text, str):
        return failure(
            "not_a_string",
            f'the field "{source.text_field}" holds {json_type(text)}, not a string',
            f"Repair it, {skip}",
        )
    sha256 = hashlib.sha256(line.rstrip(b"\r\n")).hexdigest()
    document = Document(name, text or "", bytes=len(line), offset=offset, record_sha256=sha256)
    return describe(document, row, source, place)
