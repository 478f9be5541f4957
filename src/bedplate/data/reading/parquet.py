"""Parquet and Arrow tables: each row a document, a batch of rows in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bedplate.data.documents import Document, Failure
from bedplate.data.reading.fields import describe, named_fields
from bedplate.data.reading.files import SourceFile
from bedplate.data.reading.guard import mended
from bedplate.data.reading.limits import Limits
from bedplate.data.reading.parquet_pages import chunks, plan
from bedplate.data.reading.text import decode, too_large
from bedplate.data.source import Source
from bedplate.errors import InputError, UserError

_FIX = "Take an undamaged copy, or set on_error=skip to count it as failed and go on."
_BATCH = 256
_HELD = 16 << 20


def read_parquet(
    source: Source,
    file: SourceFile,
    limits: Limits,
    groups: tuple[int, int] | None = None,
    before: int = 0,
    rows: tuple[int, int] | None = None,
) -> Iterator[Document | Failure]:
    """The rows of row groups [first, last), or of all; of these only rows [first, last), where they are given. `before`
    rows come before the first. A file that is damaged, or lacks a column that the source names, is a Failure."""
    try:
        parquet = open_parquet(file)
    except InputError as error:
        yield _unreadable(file, "damaged_file", error, _FIX)
        return
    try:
        check_columns(source, file, parquet)
    except InputError as error:
        yield _unreadable(file, "missing_column", error, error.fix or _FIX)
        return
    columns = list(dict.fromkeys(named_fields(source).values()))
    wanted = range(*groups) if groups is not None else range(parquet.metadata.num_row_groups)
    batches = _batches(file, parquet, columns, wanted)
    yield from _rows(source, file, limits, within(batches, rows), before)


def _batches(file: SourceFile, parquet: Any, columns: list[str], groups: range) -> Iterator[Any]:
    """Record batches of the row groups, each of so few rows that they can be held whatever their pages unpack to.
    Raises PageError, OSError, pyarrow's errors."""
    import pyarrow.parquet as pq

    with file.open() as stream:
        told = chunks(stream)
    for group in groups:
        with file.open() as stream:
            how = plan(stream, told[group], columns)
        if not how.dictionaries:
            yield from parquet.iter_batches(batch_size=how.rows, columns=columns, row_groups=[group])
            continue
        with file.open() as stream, pq.ParquetFile(stream, read_dictionary=list(how.dictionaries)) as kept:
            yield from kept.iter_batches(batch_size=how.rows, columns=columns, row_groups=[group])


def within(batches: Iterator[Any], rows: tuple[int, int] | None) -> Iterator[Any]:
    """Record batches of those rows that have the numbers [first, last), or of all. Parquet can't be entered but where
    a row group begins."""
    if rows is None:
        yield from batches
        return
    (first, last), at = rows, 0
    for batch in batches:
        begin, end = max(first - at, 0), min(last - at, batch.num_rows)
        if begin < end:
            yield batch.slice(begin, end - begin)
        at += batch.num_rows
        if at >= last:
            return


def read_arrow(source: Source, file: SourceFile, limits: Limits) -> Iterator[Document | Failure]:
    """The rows of an Arrow file, in the streaming format (as Hugging Face's data sets write it) or the other."""
    import pyarrow as pa

    try:
        with file.open() as stream:
            try:
                reader = pa.ipc.open_stream(stream)
                batches = iter(reader)
            except pa.ArrowInvalid:
                stream.seek(0)
                reader = pa.ipc.open_file(stream)
                batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
            try:
                check_columns(source, file, reader)
            except InputError as error:
                yield _unreadable(file, "missing_column", error, error.fix or _FIX)
                return
            yield from _rows(
                source,
                file,
                limits,
                (b.slice(i, _BATCH) for b in batches for i in range(0, b.num_rows, _BATCH)),
                0,
            )
    except (pa.ArrowException, OSError) as error:
        yield Failure(file.name, file.place, "damaged_file", f"not a whole Arrow file: {error}", _FIX, bytes=file.bytes)


def _unreadable(file: SourceFile, reason: str, error: InputError, fix: str) -> Failure:
    return Failure(file.name, file.place, reason, error.problem.removeprefix(f"{file.place}: "), fix, bytes=file.bytes)


def _rows(
    source: Source, file: SourceFile, limits: Limits, batches: Iterator[Any], before: int
) -> Iterator[Document | Failure]:

    number, columns = before, list(dict.fromkeys(named_fields(source).values()))
    others = columns[1:] + [c for c in (source.text_field,) if c in columns[1:]]
    try:
        for batch in batches:
            sizes, longest = _sizes(batch.column(source.text_field)), [0] * batch.num_rows
            for name in others:
                longest = [max(pair) for pair in zip(longest, _sizes(batch.column(name)), strict=True)]
            for place, (data, row) in enumerate(_values(batch, source.text_field, others, sizes, longest, limits)):
                number += 1
                name, size = f"{file.name}#{number}", max(sizes[place], longest[place])
                if size > limits.largest:
                    document = too_large(name, size, number - 1)
                else:
                    text = decode(data)
                    document = Document(name, text, bytes=sizes[place], offset=number - 1)
                    if text is None:
                        document.drop("read", "not_text")
                yield describe(document, row, source, f"{file.place} row {number}")
    except UserError:
        raise
    except Exception as error:  # pyarrow's, of any kind where what it reads is damaged; `PageError`
        problem = mended(f"damaged after row {number}: {error}"[:1000])
        yield Failure(f"{file.name}#{number + 1}", file.place, "damaged_file", problem, _FIX)


def _values(
    batch: Any, text: str, others: list[str], sizes: list[int], longest: list[int], limits: Limits
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Each row's text and its other values, as many rows at a time as can be held; nothing of a row that is too large.

    Texts as bytes: a writer may have put anything in a string column, and one bad row mustn't fail the batch."""
    import pyarrow as pa

    begin = 0
    while begin < len(sizes):
        end, held = begin, 0
        while end < len(sizes) and (end == begin or held + sizes[end] + longest[end] * len(others) <= _HELD):
            held += sizes[end] + longest[end] * len(others)
            end += 1
            if max(sizes[end - 1], longest[end - 1]) > limits.largest:
                break
        if max(sizes[begin], longest[begin]) > limits.largest:
            yield b"", {}
            begin += 1
            continue
        end -= end - begin > 1 and max(sizes[end - 1], longest[end - 1]) > limits.largest
        part = batch.slice(begin, end - begin)
        column = part.column(text)
        column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        texts = column.cast(pa.large_binary()).to_pylist()
        rows = part.select(others).to_pylist() if others else [{}] * len(texts)
        yield from zip((data or b"" for data in texts), rows, strict=True)
        begin = end


def _sizes(column: Any) -> list[int]:
    """Bytes of each value that is text or bytes, told without a copy of it: pyarrow copies a value that it is asked
    for, be it a gigabyte. 0 for every other."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    from numpy.typing import NDArray

    if pa.types.is_dictionary(column.type):
        values = column.dictionary
        wide = pa.types.is_large_string(values.type) or pa.types.is_large_binary(values.type)
        if len(values) and (wide or pa.types.is_string(values.type) or pa.types.is_binary(values.type)):
            offsets: NDArray[np.int64] = np.frombuffer(values.buffers()[1], "i8" if wide else "i4").astype(np.int64)
            offsets = offsets[values.offset :]
            places = np.asarray(column.indices.fill_null(0), dtype=np.int64)
            if len(places) and (places.min() < 0 or places.max() >= len(values)):
                raise pa.ArrowInvalid("a row names no entry of its column's dictionary")
            found: list[int] = (offsets[places + 1] - offsets[places]).tolist()
            return [size if valid else 0 for size, valid in zip(found, column.is_valid().to_pylist(), strict=True)]
        return [0] * len(column)
    kind = column.type
    if (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    ):
        return [size or 0 for size in pc.binary_length(column).to_pylist()]
    return [0] * len(column)


def open_parquet(file: SourceFile) -> Any:  # pyarrow has no types
    """pyarrow's reader. Raises InputError where the file isn't a whole one."""
    import pyarrow.parquet as pq

    stream = file.path if file.url is None else file.open()
    try:
        parquet = pq.ParquetFile(stream)
        _ = parquet.schema_arrow
        return parquet
    except Exception as error:  # of a damaged footer pyarrow makes errors of any kind
        problem = mended(f"{file.place}: not a whole Parquet file: {error}"[:1000])
        raise InputError(problem, "Take an undamaged copy.") from error


def check_columns(source: Source, file: SourceFile, table: Any) -> None:
    """Raise InputError unless the columns that the source names are there, and those of text and URL hold text."""
    import pyarrow as pa

    schema = table.schema_arrow if hasattr(table, "schema_arrow") else table.schema
    textual = ("text_field", "url_field", "title_field", "license_field", "language_field", "group_field")
    for option, column in named_fields(source).items():
        if column not in schema.names:
            raise InputError(
                f'{file.place}: no column "{column}" (columns: {", ".join(schema.names)})',
                f"Set {option} to the right column.",
            )
        kind = schema.field(column).type
        if option in textual and not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise InputError(
                f'{file.place}: the column "{column}" holds {kind}, not text', f"Set {option} to a text column."
            )
        if pa.types.is_nested(kind):
            raise InputError(
                f'{file.place}: the column "{column}" holds {kind}, not one value', f"Set {option} to another column."
            )
