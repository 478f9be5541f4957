"""Git repositories at a commit, read out of the object store: nothing is checked out, and nothing of theirs is run."""

from __future__ import annotations

import datetime
import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bedplate.data.documents import Document, Failure
from bedplate.data.reading.code_files import binary, generated, language, vendored
from bedplate.data.reading.files import SourceFile, spelt
from bedplate.data.reading.git_objects import Objects, Repository
from bedplate.data.reading.license_files import LARGEST, LicenseFiles, Licenses
from bedplate.data.reading.limits import Limits
from bedplate.data.reading.text import decode
from bedplate.data.rights.license_text import is_license_file
from bedplate.data.source import Source
from bedplate.errors import InputError

_FILES = ("100644", "100755")
# A few objects can name any number of files: the same tree may stand in another ten times, and that in another.
MOST_FILES = 1_000_000
MOST_NAMES = 256 << 20


@dataclass(frozen=True)
class _Entry:
    commit: str
    sha: str
    mode: str
    licenses: str = ""
    """The objects of the licence files that hold for it, as `LicenseFiles.of` gives them."""


def repository_files(source: Source) -> list[SourceFile]:
    """Its files at the commit, with "commit:object:mode:licence files" as their version; all of them have the path of
    the repository. Raises InputError."""
    base = Path(source.git or "").expanduser()
    if not base.is_dir():
        raise InputError(f"{base}: no such folder", "Correct the path in `git`.")
    with Repository(base) as repository:
        commit = repository.commit(source.commit)
        entries, names = list[tuple[bytes, str, str, int]](), 0
        for line in repository.listing(commit):
            entries.append(_listed(line))
            names += len(entries[-1][0])
            if len(entries) > MOST_FILES or names > MOST_NAMES:
                raise InputError(
                    f"{base}: {commit} names more than {MOST_FILES:,} files, or {MOST_NAMES >> 20} MB of names",
                    "All are listed before `include` and `exclude` choose: make a repository of the wanted part.",
                )
    licenses = LicenseFiles(
        {
            os.fsdecode(name): sha
            for name, mode, sha, size in entries
            if mode in _FILES and size <= LARGEST and is_license_file(os.fsdecode(name))
        }
    )
    files = []
    for data, mode, sha, size in entries:
        name = os.fsdecode(data)
        version = f"{commit}:{sha}:{mode}:{' '.join(licenses.of(posixpath.dirname(name)))}"
        files.append(SourceFile(base, spelt(f"{source.label}/{name}"), size, 0, version=version))
    return files


def _listed(entry: bytes) -> tuple[bytes, str, str, int]:
    """Path, mode, object and size of a line of `git ls-tree`; a submodule has no size."""
    facts, _, path = entry.partition(b"\t")
    mode, _, sha, size = facts.decode().split()
    return path, mode, sha, int(size) if size.isdigit() else 0


def read_git(source: Source, files: Sequence[SourceFile], limits: Limits) -> Iterator[Document | Failure]:
    """Each file as a document, in the order given; metadata["license_file"] is what the repository's licence files say
    of it, where that is known. Raises InputError where git can't be run."""
    base = Path(source.git or "").expanduser()
    dates: dict[str, str | None] = {}
    with Repository(base) as repository, Objects(repository) as objects:
        remote = repository.remote()
        licenses = Licenses(objects.read)
        for file in files:
            entry = _Entry(*(file.version or ":::").split(":"))
            if entry.commit not in dates:
                dates[entry.commit] = _date(objects.commit_time(entry.commit))
            path = file.name.partition("/")[2]
            document = Document(file.name, None, bytes=file.bytes, language=language(path))
            document.date = dates[entry.commit]
            document.url = f"{remote}/blob/{entry.commit}/{path}" if remote else None
            document.metadata = {"commit": entry.commit, "object": entry.sha, "path": path}
            if (license_ := licenses.of(entry.licenses.split())) is not None:
                document.metadata["license_file"] = license_
            if entry.mode == "160000":
                document.drop("read", "not_a_document", "submodule")
            elif entry.mode == "120000":
                document.drop("read", "not_a_document", "symbolic link")
            elif file.bytes > limits.largest:
                document.drop("read", "too_large", f"{file.bytes:,} bytes")
            elif (why := vendored(path)) is not None:
                document.drop("read", "vendored", why)
            else:
                _fill(document, path, objects.read(entry.sha))
            yield document


def _fill(document: Document, path: str, data: bytes | None) -> None:
    if data is None:
        document.fail("read", "missing_object", "the repository doesn't hold it: a partial clone, or damage")
        return
    if binary(data):
        document.drop("read", "binary")
        return
    if (why := generated(path, data)) is not None:
        document.drop("read", "generated", why)
        return
    document.text = decode(data, python=path.endswith((".py", ".pyi")))
    if document.text is None:
        document.drop("read", "not_text", "not UTF-8")


def _date(seconds: int | None) -> str | None:
    """The time in UTC; None beyond what a date can be."""
    try:
        found = datetime.datetime.fromtimestamp(seconds or 0, datetime.UTC) if seconds is not None else None
    except (OverflowError, ValueError, OSError):
        return None
    return found.strftime("%Y-%m-%dT%H:%M:%SZ") if found is not None and found.year >= 1000 else None
