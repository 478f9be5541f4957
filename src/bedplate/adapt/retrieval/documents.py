"""Raw documents -> text with its structure. What can't be read is an error that names the file, or counted as told."""

from __future__ import annotations

import codecs
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bedplate.adapt.retrieval.blocks import Structured, plain_blocks
from bedplate.adapt.retrieval.html import html_blocks, html_charset, too_deep
from bedplate.adapt.retrieval.index_config import IndexConfig
from bedplate.adapt.retrieval.markdown import markdown_blocks
from bedplate.data.documents import Failure
from bedplate.data.reading import Limits, SourceFile, find, read
from bedplate.data.source import Source
from bedplate.errors import InputError
from bedplate.ledger import SourceInput
from bedplate.ledger.digests import sha256_json

if TYPE_CHECKING:
    from bedplate.ledger import Artefact

_MARKDOWN, _HTML = (".md", ".markdown"), (".html", ".htm", ".xhtml")
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_SKIP = "or set on_error=skip to count it as failed and go on."


@dataclass(frozen=True)
class Document:
    """A document as it is indexed. source: where it lay, the same on every machine (folder/name, file#line).

    modified: when its file was last changed, in nanoseconds since 1970; None for what came out of an artefact.
    """

    source: str
    title: str
    content: Structured
    sha256: str
    modified: int | None

    @property
    def text(self) -> str:
        return self.content.text


@dataclass
class Account:
    """What became of every document: read = kept + dropped + failed."""

    read: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    def measures(self) -> dict[str, object]:
        return {
            "read": self.read,
            "kept": self.kept,
            "dropped": dict(sorted(self.dropped.items())),
            "failed": dict(sorted(self.failed.items())),
        }


@dataclass(frozen=True)
class _Raw:
    """A document's text before its structure is looked for. drop: why there is none."""

    source: str
    text: str
    title: str = ""
    modified: int | None = None
    drop: str | None = None


def raw_inputs(config: IndexConfig) -> list[SourceInput]:
    """The files that are going to be read, with a digest over sorted (name, size, mtime): a file that changes makes
    another index. Raises InputError for a place that isn't there or holds nothing to read."""
    if config.documents is None:
        return []
    place = Path(config.documents).expanduser()
    files = find_files(config, place)
    return [
        SourceInput(
            path=place,
            digest=sha256_json(sorted([file.name, file.bytes, file.mtime_ns] for file in files)),
            bytes=sum(file.bytes for file in files),
            count=len(files),
        )
    ]


def find_files(config: IndexConfig, place: Path) -> list[SourceFile]:
    """The files at `place`, sorted by name. Raises InputError if there are none."""
    if place.is_dir():
        source = Source(folder=str(place), include=config.include, exclude=config.exclude, license="unknown")
        try:
            return find(source)
        except InputError as error:
            if "no files to read" not in error.problem:
                raise
            raise InputError(
                f"{place}: no document in it: no file matches {', '.join(config.include)}",
                "Check the folder, and the `include` and `exclude` globs.",
            ) from error
    if place.is_file():
        return find(Source(text=str(place), license="unknown"))
    if place.exists():
        raise InputError(f"{place}: neither a file nor a folder, so it may have no end", "Copy it to a file.")
    raise InputError(f"{place}: no such file or folder", "Correct the path in `documents`.")


def read_documents(
    config: IndexConfig, place: Path | None, corpus: Artefact | None, account: Account
) -> Iterator[Document]:
    """Every document that is kept, in a fixed order, counting all of them in `account`.

    Dropped: what is empty, binary, too large, nested too deeply, a link that leads out of the folder, or the same text
    once more. Raises InputError, naming file and place, for what can't be read (unless on_error=skip).
    """
    seen: set[str] = set()
    for raw in _raw_documents(config, place, corpus):
        account.read += 1
        if isinstance(raw, Failure):
            if config.on_error == "stop":
                raise InputError(f"{raw.place}: {raw.problem}", raw.fix)
            account.failed[raw.reason] += 1
            continue
        drop, document = raw.drop, None
        if drop is None:
            document = _structured(raw)
            drop = _why_dropped(document, seen)
        if drop is not None or document is None:
            account.dropped[drop or "empty"] += 1
            continue
        seen.add(document.sha256)
        account.kept += 1
        yield document


def _why_dropped(document: Document, seen: set[str]) -> str | None:
    if not document.content.blocks:
        return "empty"
    if "\0" in document.text:
        return "not_text"
    return "duplicate" if document.sha256 in seen else None


def _structured(raw: _Raw) -> Document:
    suffix = Path(raw.source.partition("#")[0]).suffix.lower()
    if suffix in _HTML:
        content = html_blocks(raw.text)
    elif suffix in _MARKDOWN:
        content = markdown_blocks(raw.text)
    else:
        content = plain_blocks(raw.text)
    title = raw.title or content.title
    if title != content.title:
        content = Structured(content.text, title, content.blocks)
    digest = hashlib.sha256(content.text.encode("utf-8", "surrogatepass")).hexdigest()
    return Document(raw.source, title, content, digest, raw.modified)


def _raw_documents(config: IndexConfig, place: Path | None, corpus: Artefact | None) -> Iterator[_Raw | Failure]:
    if corpus is not None:
        yield from _of_corpus(corpus)
    elif place is not None:
        for file in find_files(config, place):
            if not _inside(file.path, place):
                yield _Raw(file.name, "", drop="link_leads_outside")
            elif file.path.suffix.lower() == ".jsonl":
                yield from _of_lines(config, file)
            else:
                yield _of_file(config, file)


def _inside(path: Path, place: Path) -> bool:
    """A folder from elsewhere may hold links to what its reader alone should see."""
    return place.is_file() or Path(os.path.realpath(path)).is_relative_to(os.path.realpath(place))


def _of_file(config: IndexConfig, file: SourceFile) -> _Raw | Failure:
    if file.bytes > config.largest_document:
        return _Raw(file.name, "", drop="too_large")
    try:
        data = file.path.read_bytes()
    except OSError as error:
        problem = f"can't be read: {error.strerror or error}"
        fix = f"Make it readable, leave it out by `exclude`, {_SKIP}"
        return Failure(file.name, str(file.path), "unreadable", problem, fix, file.bytes)
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if encoding is None:
        declared = html_charset(data) if file.path.suffix.lower() in _HTML else None
        encoding = declared or "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if b"\0" in data:
            return _Raw(file.name, "", drop="not_text")
        problem = f"not {encoding} at byte {error.start}"
        fix = f"Save it as UTF-8, leave it out by `exclude`, {_SKIP}"
        return Failure(file.name, str(file.path), "wrong_encoding", problem, fix, file.bytes)
    drop = "nested_too_deeply" if file.path.suffix.lower() in _HTML and too_deep(text) else None
    return _Raw(file.name, text, modified=file.mtime_ns, drop=drop)


def _of_lines(config: IndexConfig, file: SourceFile) -> Iterator[_Raw | Failure]:
    """JSON Lines by curate's reader; a title is what it calls a URL: one more field that may be there."""
    source = Source(jsonl=str(file.path), text_field=config.text_field, url_field=config.title_field, license="unknown")
    for found in read(source, file, Limits(config.largest_document)):
        if isinstance(found, Failure):
            yield found
        else:
            drop = found.reason or (None if _encodable(found.text or "") else "not_text")
            title = " ".join((found.url or "").split())[:200]
            yield _Raw(found.source, found.text or "", title, file.mtime_ns, drop)


def _encodable(text: str) -> bool:
    """JSON can spell half a surrogate pair, which no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _of_corpus(corpus: Artefact) -> Iterator[_Raw]:
    from bedplate.data.corpus import read_corpus

    for rows in read_corpus(corpus, ["text", "source"]):
        for text, source in zip(rows["text"], rows["source"], strict=True):
            yield _Raw(source, text)
