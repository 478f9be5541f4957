"""`SourceFile`: a file as found, here or on object storage, and how it is opened and named."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from bedplate.errors import InputError

_MARKS = ("ETag", "etag", "md5Hash", "generation", "LastModified", "last_modified", "mtime", "created")
UNKNOWN = "unknown"
"""The version of a file of which its store says nothing."""
_LIKE_SPELT = re.compile(r"\\(?:\\|x[0-9a-f]{2})")


@dataclass(frozen=True)
class SourceFile:
    """A file to be read, as found: the path, the name it has in the corpus, its size in bytes, when it changed.

    url: its address where fsspec fetches it (`path` then is what the address names, and of no use to open it).
    version: what tells one state of it from another where a time doesn't: an ETag; for a file of a repository
    "commit:object".
    """

    path: Path
    name: str
    bytes: int
    mtime_ns: int
    url: str | None = None
    version: str | None = None

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return self.url or str(self.path)

    @property
    def suffix(self) -> str:
        """Of the file itself, in lower case, without the compression: ".html" of a.html.gz. What it is called in the
        corpus, where a source's label may be all there is, says nothing of it."""
        return os.path.splitext(self._own_name.removesuffix(".gz"))[1]

    @property
    def gzipped(self) -> bool:
        """Whether its suffix says that it is."""
        return self._own_name.endswith(".gz")

    @property
    def _own_name(self) -> str:
        if self.url is not None:
            return self.url.partition("?")[0].partition("#")[0].rpartition("/")[2].lower()
        name = self.path.name
        # A link may be called anything: "latest".
        return (name if os.path.splitext(name)[1] else os.path.basename(os.path.realpath(self.path))).lower()

    @property
    def state(self) -> list[object]:
        """What its digest is of: another list means that the file is another."""
        return [self.name, self.bytes, self.mtime_ns if self.version is None else self.version]

    def open(self) -> BinaryIO:
        """Its bytes, streaming and able to seek. Raises OSError; InputError where the store can't be reached."""
        if self.url is None:
            return self.path.open("rb")
        return cast(BinaryIO, store(self.url)[0].open(store(self.url)[1], "rb"))

    def to_json(self) -> list[object]:
        return [os.fspath(self.path), self.name, self.bytes, self.mtime_ns, self.url, self.version]

    @classmethod
    def from_json(cls, values: list[Any]) -> SourceFile:
        return cls(Path(values[0]), *values[1:])


def local_file(path: Path, name: str) -> SourceFile:
    """Raises OSError."""
    status = path.stat()
    return SourceFile(path, spelt(name), status.st_size, status.st_mtime_ns)


def remote_file(system: Any, entry: Mapping[str, Any], name: str) -> SourceFile:
    """A file as its store lists it."""
    path, said = entry["name"], marks(entry)
    version = said[0] if said else UNKNOWN
    return SourceFile(Path(path), spelt(name), int(entry["size"] or 0), 0, system.unstrip_protocol(path), version)


def marks(entry: Mapping[str, Any]) -> list[str]:
    """What a store says by which one state of a file is told from another, the surest first."""
    values = [entry[mark] for mark in _MARKS if entry.get(mark) is not None]
    return [str(value.timestamp() if isinstance(value, datetime.datetime) else value) for value in values]


def spelt(name: str) -> str:
    """A name as text, another one for each: names are bytes, not all of which are UTF-8.

    Bytes that aren't are spelt \\xff, and backslashes beside them twice; so are those of a name that could itself be
    taken for one that was spelt so. Any other name stays as it is.
    """
    try:
        data = os.fsencode(name)
    except UnicodeEncodeError:  # a store's listing may hold any halves of surrogate pairs
        data = name.encode("utf-8", "surrogatepass")
    try:
        text = data.decode()
        if _LIKE_SPELT.search(text) is None:
            return text
    except UnicodeDecodeError:
        pass
    return data.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def store(url: str) -> tuple[Any, str]:  # fsspec has no types
    """fsspec's file system for an address, and the path in it. Raises InputError where there is no way to it."""
    from bedplate.data.extra import require

    fsspec = require("fsspec", f"the address {url}")
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(url)
        return found
    except ImportError as error:
        scheme = url.partition("://")[0]
        raise InputError(
            f"{url}: the package that reads {scheme}:// isn't installed: {error}", "Install it, or copy the files here."
        ) from error
    except Exception as error:  # stores raise what they like
        raise InputError(f"{url}: {error}", "Correct the address, or copy the files here.") from error
