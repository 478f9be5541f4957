"""`SourceFile`: a file as found, here or on object storage, and how it is opened and named."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from bedplate.errors import InputError


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
        """Of its name, in lower case, without the compression: ".html" of a.html.gz."""
        name = self.name.lower()
        return os.path.splitext(name.removesuffix(".gz"))[1]

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
    status = path.stat()
    # A file's name is bytes, not all of which are text; \xff is how such ones are spelt.
    name = os.fsencode(name).decode("utf-8", "backslashreplace")
    return SourceFile(path, name, status.st_size, status.st_mtime_ns)


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
