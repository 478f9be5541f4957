"""Finding and reading raw documents: the standard library, folders, JSON Lines, Parquet, text files, FASTA.

Reading streams: one document, line or row batch is in memory at a time. What can't be read is a `Failure` with its file
and line; what to do about it is the caller's business.
"""

from __future__ import annotations

import functools
import io
import json
import os
import re
import sysconfig
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedplate.data.curate import CurateConfig, Source
from bedplate.data.fasta import FastaError, fasta_sequences
from bedplate.errors import InputError
from bedplate.ledger import SourceInput
from bedplate.ledger.digests import sha256_json
from bedplate.ledger.manifest import MANIFEST

_STDLIB_INCLUDE = ("*.py",)
# Tests, other people's packages, and what the build of this very Python generated (it holds absolute paths).
_STDLIB_EXCLUDE = (
    *("test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"),
    *("config-*", "_sysconfigdata*", "_sysconfig_vars*"),
)


@dataclass(frozen=True)
class SourceFile:
    """A file to be read, as found: the path, the name it has in the corpus, its size in bytes, when it changed."""

    path: Path
    name: str
    bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class RawDocument:
    """A document as read. `text` is None where `drop` says why there is none (not_text, too_large)."""

    source: str
    text: str | None
    url: str | None = None
    drop: str | None = None
    bytes: int = 0
    """Size where it lay, in bytes; known even where the text isn't."""
    group: str | None = None
    """What it must share a split with."""


@dataclass(frozen=True)
class Failure:
    """A document that can't be read: where it is for a person, why, and what to do about it."""

    source: str
    place: str
    reason: str
    problem: str
    fix: str
    bytes: int = 0


def raw_inputs(config: CurateConfig) -> list[SourceInput]:
    """What `curate` is going to read, one entry a source, with a digest over sorted (name, size, mtime).

    Raises InputError for a path that isn't there, a source without files, a Parquet file that can't be opened (unless
    on_error=skip) or lacks the column: everything that can be known before anything is written.
    """
    found = []
    for source in config.sources:
        files = find(source)
        if source.parquet is not None:
            for file in files:
                try:
                    parquet = _open_parquet(file)
                except InputError:
                    if config.on_error == "stop":
                        raise
                    continue
                _check_columns(source, file, parquet)
        found.append(
            SourceInput(
                path=root(source),
                digest=sha256_json(sorted([file.name, file.bytes, file.mtime_ns] for file in files)),
                bytes=sum(file.bytes for file in files),
                count=len(files),
            )
        )
    return found


def root(source: Source) -> Path:
    """The file or folder that the source names."""
    return Path(sysconfig.get_paths()["stdlib"] if source.python_stdlib else getattr(source, source.place)).expanduser()


def find(source: Source) -> list[SourceFile]:
    """The source's files, sorted by their names in the corpus. Raises InputError if there are none."""
    base = root(source)
    if not base.exists():
        raise InputError(f"{base}: no such file or folder", f"Correct the path in `{source.place}`.")
    if not base.is_dir() and not base.is_file():
        raise InputError(f"{base}: neither a file nor a folder, so it may have no end", "Copy it to a file.")
    if source.python_stdlib:
        files = _walk(base, source.label, _STDLIB_INCLUDE, _STDLIB_EXCLUDE)
    elif source.folder is not None:
        if not base.is_dir():
            raise InputError(
                f"{base}: a file, where `folder` needs a folder", "Use `text`, `jsonl` or `parquet` for a file."
            )
        files = _walk(base, source.label, source.include, source.exclude)
    elif base.is_dir():
        if source.text is not None:
            raise InputError(f"{base}: a folder, where `text` needs a file", "Use `folder` for a folder of text files.")
        if source.fasta is not None:
            raise InputError(f"{base}: a folder, where `fasta` needs a file", "Name one source a file.")
        files = _walk(base, source.label, (f"*.{source.place}",), (".*",))
    else:
        files = [_file(base, source.label)]
    if not files:
        raise InputError(f"{base}: no files to read in it", "Check the path and the `include` and `exclude` globs.")
    return files


def read(source: Source, file: SourceFile, largest: int) -> Iterator[RawDocument | Failure]:
    """The documents of one file. `largest`: bytes beyond which a document isn't even read."""
    try:
        if source.jsonl is not None:
            yield from _read_jsonl(source, file, largest)
        elif source.parquet is not None:
            yield from _read_parquet(source, file)
        elif source.fasta is not None:
            yield from _read_fasta(file, largest)
        elif source.text is not None and source.separator is not None:
            yield from _read_separated(file, source.separator, largest)
        else:
            yield _read_whole(file, largest)
    except OSError as error:
        yield Failure(
            *(file.name, str(file.path), "unreadable", f"can't be read: {error.strerror or error}"),
            fix="Make it readable, leave it out, or set on_error=skip to go on without it.",
            bytes=file.bytes,
        )


def _walk(base: Path, label: str, include: tuple[str, ...], exclude: tuple[str, ...]) -> list[SourceFile]:
    wanted, unwanted = _matcher(include), _matcher(exclude)
    files = []
    for folder, folders, names in os.walk(base):
        relative = Path(folder).relative_to(base)
        folders[:] = sorted(
            name for name in folders if not unwanted((relative / name).as_posix()) and not _ours(Path(folder, name))
        )
        for name in names:
            path = (relative / name).as_posix()
            if wanted(path) and not unwanted(path) and (base / path).is_file():
                files.append(_file(base / path, f"{label}/{path}"))
    return sorted(files, key=lambda file: file.name)


def _ours(folder: Path) -> bool:
    """Whether it is an artefact, or one in the making: a source that holds `runs/` would change with each run."""
    return ".partial-" in folder.name or (folder / MANIFEST).is_file()


def _file(path: Path, name: str) -> SourceFile:
    status = path.stat()
    # A file's name is bytes, not all of which are text; \xff is how such ones are spelt.
    name = os.fsencode(name).decode("utf-8", "backslashreplace")
    return SourceFile(path, name, status.st_size, status.st_mtime_ns)


class _Matcher:
    """Whether a relative path matches any of some globs. One without / is tried on the last name alone."""

    def __init__(self, globs: tuple[str, ...]) -> None:
        self._whole = [_glob_pattern(glob.strip("/")) for glob in globs if "/" in glob.rstrip("/")]
        self._name = [_glob_pattern(glob.rstrip("/")) for glob in globs if "/" not in glob.rstrip("/")]

    def __call__(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        return any(p.fullmatch(path) for p in self._whole) or any(p.fullmatch(name) for p in self._name)


def _matcher(globs: tuple[str, ...]) -> _Matcher:
    return _Matcher(globs)


@functools.cache
def _glob_pattern(glob: str) -> re.Pattern[str]:
    """A glob as a regular expression: `**/` any folders, `*` and `?` within a name."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts), re.DOTALL)


def _read_whole(file: SourceFile, largest: int) -> RawDocument:
    if file.bytes > largest:
        return RawDocument(file.name, None, drop="too_large", bytes=file.bytes)
    with file.path.open("rb") as stream:
        data = stream.read(largest + 1)
    if len(data) > largest:  # it grew, or its size was never known
        return RawDocument(file.name, None, drop="too_large", bytes=len(data))
    text = decode(data, python=file.path.suffix in (".py", ".pyi"))
    return RawDocument(file.name, text, drop=None if text is not None else "not_text", bytes=len(data))


def decode(data: bytes, *, python: bool = False) -> str | None:
    """The text of a file, or None if it isn't text: UTF-8, or for Python sources what they declare (PEP 263).

    A byte order mark is taken off; line ends stay as they are.
    """
    try:
        encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0] if python else "utf-8-sig"
        return data.decode(encoding)
    except (SyntaxError, UnicodeError, LookupError, ValueError):
        return None


def _read_separated(file: SourceFile, separator: str, largest: int) -> Iterator[RawDocument]:
    """The pieces between separators, read a block at a time; a longer piece is given in part, to be dropped."""
    mark, rest, number, lost = separator.encode(), b"", 0, 0
    with file.path.open("rb") as stream:
        while True:
            block = stream.read(1 << 20)
            rest += block
            pieces = rest.split(mark)
            rest = pieces.pop() if block else b""
            for piece in pieces:
                number += 1
                yield _piece(f"{file.name}#{number}", piece, lost)
                lost = 0
            if not block:
                return
            if len(rest) > largest + len(mark):  # keep what may be the start of a separator
                lost += len(rest) - len(mark)
                rest = rest[-len(mark) :]


def _piece(name: str, piece: bytes, lost: int) -> RawDocument:
    if lost:
        return RawDocument(name, None, drop="too_large", bytes=len(piece) + lost)
    text = decode(piece)
    return RawDocument(name, text, drop=None if text is not None else "not_text", bytes=len(piece))


def _read_fasta(file: SourceFile, largest: int) -> Iterator[RawDocument | Failure]:
    number = 0
    try:
        for sequence in fasta_sequences(file.path, largest):
            number = sequence.number
            drop = "not_text" if not sequence.is_text else "too_large" if sequence.letters is None else None
            yield RawDocument(f"{file.name}#{number}", sequence.letters, drop=drop, bytes=sequence.bytes)
    except FastaError as error:
        fix = "Take an undamaged FASTA file, or set on_error=skip to count it as failed and go on."
        yield Failure(f"{file.name}#{number + 1}", str(file.path), "damaged_file", str(error), fix, bytes=file.bytes)


def _read_jsonl(source: Source, file: SourceFile, largest: int) -> Iterator[RawDocument | Failure]:
    # JSON may spell a byte of text with six characters (\u0041), and a line has other fields too.
    limit = 6 * largest + (1 << 20)
    with file.path.open("rb") as stream:
        number = 0
        while line := stream.readline(limit):
            number += 1
            name, size = f"{file.name}#{number}", len(line)
            if size == limit and not line.endswith(b"\n"):
                while (more := stream.readline(limit)) and not more.endswith(b"\n"):
                    size += len(more)
                yield RawDocument(name, None, drop="too_large", bytes=size + len(more))
            elif line.strip():
                yield _parse_line(source, file, number, name, line)


def _parse_line(source: Source, file: SourceFile, number: int, name: str, line: bytes) -> RawDocument | Failure:
    place = f"{file.path} line {number}"
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
        return failure("corrupt_line", f"{_json_type(row)}, not a JSON object", f"Repair the line, {skip}")
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
            f'the field "{source.text_field}" holds {_json_type(text)}, not a string',
            f"Repair it, {skip}",
        )
    url = row.get(source.url_field) if source.url_field is not None else None
    group = row.get(source.group_field) if source.group_field is not None else None
    if (no_group := _no_group(source, group, name, place, len(line))) is not None:
        return no_group
    return RawDocument(
        name, text or "", url=url if isinstance(url, str) else None, bytes=len(line),
        group=None if group is None else str(group),
    )  # fmt: skip


def _no_group(source: Source, group: object, name: str, place: str, size: int) -> Failure | None:
    """Why a document can't be kept with its group: it has none, though the source says that all have."""
    if source.group_field is None or isinstance(group, str | int):
        return None
    problem = f'the field "{source.group_field}" holds {_json_type(group)}, which names no group'
    fix = "Give every document one, or set on_error=skip to count those without as failed and go on."
    return Failure(name, place, "no_group", problem, fix, bytes=size)


def _json_type(value: object) -> str:
    """What JSON calls a parsed value, with its article."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return "a string"
    if isinstance(value, int | float):
        return "a number"
    return "an array" if isinstance(value, list) else "an object"


def _read_parquet(source: Source, file: SourceFile) -> Iterator[RawDocument | Failure]:
    import pyarrow as pa

    fix = "Take an undamaged copy, or set on_error=skip to count it as failed and go on."
    try:
        parquet = _open_parquet(file)
    except InputError as error:
        problem = error.problem.removeprefix(f"{file.path}: ")
        yield Failure(file.name, str(file.path), "damaged_file", problem, fix, bytes=file.bytes)
        return
    _check_columns(source, file, parquet)
    named = {"url": source.url_field, "group": source.group_field}
    columns = [source.text_field, *dict.fromkeys(c for c in named.values() if c and c != source.text_field)]
    number = 0
    try:
        for batch in parquet.iter_batches(batch_size=256, columns=columns):
            # As bytes: a writer may have put anything in a string column, and one bad row mustn't fail the batch.
            texts = batch.column(0).cast(pa.large_binary()).to_pylist()
            others = [batch.column(columns.index(c)).to_pylist() if c else [None] * len(texts) for c in named.values()]
            for data, url, group in zip(texts, *others, strict=True):
                number += 1
                name, size = f"{file.name}#{number}", len(data or b"")
                if (no_group := _no_group(source, group, name, f"{file.path} row {number}", size)) is not None:
                    yield no_group
                    continue
                text = decode(data or b"")
                drop = None if text is not None else "not_text"
                yield RawDocument(name, text, url=url, drop=drop, bytes=size, group=group)
    except (pa.ArrowException, OSError) as error:
        yield Failure(
            *(f"{file.name}#{number + 1}", str(file.path), "damaged_file", f"damaged after row {number}: {error}"),
            fix=fix,
        )


def _open_parquet(file: SourceFile) -> Any:  # pyarrow has no types
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file.path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file.path}: not a whole Parquet file: {error}", "Take an undamaged copy.") from error


def _check_columns(source: Source, file: SourceFile, parquet: Any) -> None:
    """Raise InputError unless the columns that the source names are there and hold text.

    Otherwise a setting is wrong and not the file, so that stops the stage whatever on_error says.
    """
    import pyarrow as pa

    schema = parquet.schema_arrow
    for option in ("text_field", "url_field", "group_field"):
        column = getattr(source, option)
        if column is None:
            continue
        if column not in schema.names:
            raise InputError(
                f'{file.path}: no column "{column}" (columns: {", ".join(schema.names)})',
                f"Set {option} to the right column.",
            )
        kind = schema.field(column).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise InputError(
                f'{file.path}: the column "{column}" holds {kind}, not text', f"Set {option} to a text column."
            )
