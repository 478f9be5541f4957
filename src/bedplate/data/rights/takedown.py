"""`Takedown`: lists of what is to be left out or removed, by URL, domain, hash, id or owner; millions of entries.

One format in three spellings, plain or gzipped:

- lines `url=https://a.org/x`, `domain=a.org`, `sha256=...`, `id=...`, `owner=Jane Doe`; empty ones and # don't count;
- CSV (.csv) whose header names any of these columns;
- JSON Lines (.jsonl) whose objects have any of these keys.

Of a row with several of them, each matches by itself. A URL that ends in `/*` matches all below it.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from bedplate.data.corpus import identity
from bedplate.data.documents import Document
from bedplate.data.rights.hosts import ascii_host, host_of, suffixes
from bedplate.data.rights.robots import path_of
from bedplate.errors import InputError

Kind = Literal["url", "domain", "sha256", "id", "owner"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_LONGEST_LINE = 1 << 20
_HASHES = {"sha256": re.compile(r"[0-9a-f]{64}"), "id": re.compile(r"[0-9a-f]{24}")}
_FORMAT = "Write url=..., domain=..., sha256=..., id=... or owner=..."


class Takedown:
    """Entries are held as 64-bit hashes, 8 bytes each: of a billion documents, a list of a million entries takes out
    one too many with a probability of 0.00005."""

    def __init__(self, entries: Iterable[tuple[Kind, str]]) -> None:
        """From (kind, value) pairs, which `entry` has checked."""
        hashes = array("Q")
        kinds: set[str] = set()
        for kind, value in entries:
            kinds.add("below" if value.endswith("/*") and kind == "url" else kind)
            hashes.append(_hash(kind, value))
        self._kinds = frozenset(kinds)
        self._hashes: npt.NDArray[np.uint64] = np.unique(np.frombuffer(hashes, dtype=np.uint64))

    @classmethod
    def read(cls, paths: Iterable[str], *, bare: Kind | None = None) -> Takedown:
        """From files. `bare`: what a line without `kind=` is. Raises InputError, naming file and line."""
        return cls(found for path in paths for found in _read(Path(path), bare))

    @classmethod
    def of(cls, matches: Iterable[str]) -> Takedown:
        """From `domain=a.org` and its like, as on a command line. Raises InputError."""
        return cls(entry(*_halves(match, f"--match {match}", None), f"--match {match}") for match in matches)

    def __len__(self) -> int:
        return len(self._hashes)

    def matches(
        self,
        *,
        url: str | None = None,
        domain: str | None = None,
        sha256: str | None = None,
        id: str | None = None,
        owner: str | None = None,
    ) -> str | None:
        """The entry that matches what is known of a document, as `domain=a.org`; None where none does. `domain` is
        needed only where there is no URL. An entry `id` also matches by the beginning of the text's hash."""
        for kind, value in self._asked(url, domain, sha256, id, owner):
            if self._has(_hash(kind, value)):
                return f"{kind}={value}"
        return None

    def match(self, document: Document) -> str | None:
        """The entry that matches a document by its URL, its text's or its record's hash, its id as it would be in a
        corpus or was in one, or its author."""
        owner = document.metadata.get("author")
        digest = name = None
        if self._kinds & _HASHES.keys() and document.text is not None:
            digest = hashlib.sha256(document.text.encode("utf-8", "surrogatepass")).hexdigest()
            name = identity(digest, _picture(document))
        author = owner if isinstance(owner, str) else None
        found = self.matches(url=document.url, sha256=digest, id=name, owner=author)
        if found is None and document.record_sha256:
            found = self.matches(sha256=document.record_sha256)
        if found is None and (carried := document.columns.get("id")):
            found = self.matches(id=str(carried))
        return found

    def _asked(
        self, url: str | None, domain: str | None, sha256: str | None, id: str | None, owner: str | None
    ) -> Iterator[tuple[Kind, str]]:
        kinds = self._kinds
        if url and kinds & {"url", "below"} and (normal := normal_url(url)) is not None:
            if "url" in kinds:
                yield "url", normal
            if "below" in kinds:
                for place in (found.start() for found in re.finditer("/", normal)):
                    yield "url", f"{normal[: place + 1]}*"
        if "domain" in kinds and (host := host_of(url) or (ascii_host(domain) if domain else None)):
            for suffix in suffixes(host):
                yield "domain", suffix
        if "sha256" in kinds and sha256:
            yield "sha256", sha256.lower()
        if "id" in kinds and (id or sha256):
            yield "id", (id or sha256 or "").lower()[:24]
        if "owner" in kinds and owner and (name := _owner(owner)):
            yield "owner", name

    def _has(self, value: int) -> bool:
        place = int(np.searchsorted(self._hashes, np.uint64(value)))
        return place < len(self._hashes) and int(self._hashes[place]) == value


def entry(kind: str, value: str, where: str) -> tuple[Kind, str]:
    """A checked entry in its normal spelling. Raises InputError, naming `where`, for what could never match."""
    value = value.strip()
    problem = ""
    normal: str | None = None
    if kind == "url":
        normal = normal_url(value)
        problem = f"{value!r} is no http or https address"
    elif kind == "domain":
        normal = ascii_host(value.removeprefix("*.").removeprefix("."))
        problem = f"{value!r} is no domain"
    elif kind in _HASHES:
        normal = value.lower() if _HASHES[kind].fullmatch(value.lower()) else None
        problem = f"{value[:80]!r} isn't {64 if kind == 'sha256' else 24} hexadecimal digits"
    elif kind == "owner":
        normal, problem = _owner(value) or None, "an owner without a name"
    else:
        problem = f"{kind!r} is nothing to match by"
    if normal is None:
        raise InputError(f"{where}: {problem}", "Write a domain: example.org." if kind == "domain" else _FORMAT)
    for known in KINDS:
        if known == kind:
            return known, normal
    raise AssertionError(kind)


def normal_url(url: str) -> str | None:
    """Without scheme, port and fragment, the host in lower case, escapes normalised: http and https are one."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return None
    host = host_of(url.strip())
    return f"{host}{path_of(url.strip())}" if host and parts.scheme.lower() in ("http", "https") else None


def _picture(document: Document) -> str | None:
    """The hash of its picture; what came out of a corpus may have it as a column alone."""
    known = document.metadata.get("picture") if document.images else None
    found = known.get("sha256") if isinstance(known, dict) else document.columns.get("picture")
    return None if found is None else str(found)


def _owner(name: str) -> str:
    return " ".join(name.casefold().split())


def _hash(kind: str, value: str) -> int:
    data = f"{kind}\0{value}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _halves(line: str, where: str, bare: Kind | None) -> tuple[str, str]:
    kind, equals, value = line.partition("=")
    if equals and kind.strip().lower() in KINDS:
        return kind.strip().lower(), value
    if bare is not None:
        return bare, line
    raise InputError(f"{where}: {line[:80]!r} doesn't say what to match by", _FORMAT)


def _read(path: Path, bare: Kind | None) -> Iterator[tuple[Kind, str]]:
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
        yield entry(*_halves(line, where, bare), where)


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
            raise InputError(f"{path} line 1: no column {', '.join(KINDS)} (columns: {', '.join(columns)})", _FORMAT)
        reader.fieldnames = columns
        for row in reader:
            yield from _of_row(row, f"{path} line {reader.line_num}")
    except csv.Error as error:
        raise InputError(f"{path} line {reader.line_num}: {error}", "Check the quotes.") from error


def _of_row(row: dict[str, object], where: str) -> Iterator[tuple[Kind, str]]:
    found = [(kind, row[kind]) for kind in KINDS if row.get(kind) not in (None, "")]
    if not found:
        raise InputError(f"{where}: none of {', '.join(KINDS)} is given", _FORMAT)
    for kind, value in found:
        if not isinstance(value, str):
            raise InputError(f"{where}: {kind} is {value!r}, no string", _FORMAT)
        yield entry(kind, value, where)


def _lines(path: Path, lines: io.TextIOWrapper) -> Iterator[tuple[int, str]]:
    number = 0
    while line := lines.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE and not line.endswith("\n"):
            raise InputError(f"{path} line {number}: longer than {_LONGEST_LINE:,} characters", _FORMAT)
        if (line := line.strip()) and not line.startswith("#"):
            yield number, line
