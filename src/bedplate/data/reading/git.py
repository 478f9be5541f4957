"""Git repositories at a commit, read out of the object store: nothing is checked out, and nothing of theirs is run."""

from __future__ import annotations

import contextlib
import datetime
import os
import posixpath
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bedplate.data.documents import Document, Failure
from bedplate.data.reading.code_files import binary, generated, language, vendored
from bedplate.data.reading.files import SourceFile
from bedplate.data.reading.license_files import LARGEST, LicenseFiles, Licenses
from bedplate.data.reading.limits import Limits
from bedplate.data.reading.text import decode
from bedplate.data.source import Source
from bedplate.errors import InputError

_FILES = ("100644", "100755")
_REMOTE = re.compile(r"(?:(?:https?|ssh|git)://(?:[^@/]*@)?|(?:[\w.-]+)@)([\w.-]+)(?::\d+)?[:/](.+?)(?:\.git)?/?")


@dataclass(frozen=True)
class _Entry:
    commit: str
    sha: str
    mode: str
    licenses: str = ""
    """The objects of the licence files that hold for it, as `LicenseFiles.of` gives them."""


def repository_files(source: Source) -> list[SourceFile]:
    """Its files at the commit, with "commit:object:mode:licence files" as their version. Raises InputError."""
    base = Path(source.git or "").expanduser()
    if not base.is_dir():
        raise InputError(f"{base}: no such folder", "Correct the path in `git`.")
    wrong = f"{base}: no commit {source.commit!r} in a git repository there"
    _git(base, "rev-parse", "--git-dir", wrong=f"{base}: no git repository, of which `git` takes the top folder")
    if source.commit.startswith("-"):
        raise InputError(wrong, "Correct `commit`.")
    commit = _git(base, "rev-parse", "--verify", f"{source.commit}^{{commit}}", wrong=wrong).decode().strip()
    listing = _git(base, "ls-tree", "-r", "-z", "-l", "--full-tree", commit, wrong=f"{base}: can't list {commit}")
    entries = [_listed(entry) for entry in listing.split(b"\0")[:-1]]
    licenses = LicenseFiles({name: sha for name, mode, sha, size in entries if mode in _FILES and size <= LARGEST})
    files = []
    for name, mode, sha, size in entries:
        version = f"{commit}:{sha}:{mode}:{' '.join(licenses.of(posixpath.dirname(name)))}"
        files.append(SourceFile(base / name, f"{source.label}/{name}", size, 0, version=version))
    return files


def _listed(entry: bytes) -> tuple[str, str, str, int]:
    """Path, mode, object and size of a line of `git ls-tree`; a submodule has no size."""
    facts, _, path = entry.partition(b"\t")
    mode, _, sha, size = facts.decode().split()
    return path.decode("utf-8", "backslashreplace"), mode, sha, int(size) if size.isdigit() else 0


def read_git(source: Source, files: Sequence[SourceFile], limits: Limits) -> Iterator[Document | Failure]:
    """Each file as a document, in the order given; metadata["license_file"] is what the repository's licence files say
    of it, where that is known. Raises InputError where git can't be run."""
    base = Path(source.git or "").expanduser()
    remote = _remote(base)
    date = ""
    with _Objects(base) as objects:
        licenses = Licenses(objects.read)
        for file in files:
            entry = _Entry(*(file.version or ":::").split(":"))
            date = date or _commit_date(base, entry.commit)
            path = file.name.partition("/")[2]
            document = Document(file.name, None, bytes=file.bytes, date=date, language=language(path))
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


class _Objects:
    """Asks one `git cat-file` for objects."""

    def __init__(self, base: Path) -> None:
        self._base = base

    def __enter__(self) -> _Objects:
        command = [*_command(self._base), "cat-file", "--batch"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(self._base),
        )
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self._process.wait()

    def read(self, sha: str) -> bytes | None:
        """The object's bytes, or None where it can't be had."""
        asked, answers = self._process.stdin, self._process.stdout
        if asked is None or answers is None:
            return None
        try:
            asked.write(sha.encode() + b"\n")
            asked.flush()
            return self._answer(answers)
        except BrokenPipeError:  # git gave up over a damaged object: go on with another
            self.__exit__()
            self.__enter__()
            return None

    def _answer(self, answers: IO[bytes]) -> bytes | None:
        words = answers.readline().split()
        if not words:
            raise BrokenPipeError
        if len(words) != 3 or words[1] != b"blob":
            return None
        data = answers.read(int(words[2]))
        if len(data) < int(words[2]):
            raise BrokenPipeError
        answers.read(1)
        return data


def _command(base: Path) -> list[str]:
    # What a repository's own settings may start is started for none of the commands used, but for the file monitor.
    return ["git", "-c", "core.fsmonitor=false", "-C", os.fspath(base)]


def _environment(base: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return kept | {
        "GIT_CEILING_DIRECTORIES": os.path.dirname(os.path.realpath(base)),  # a folder of a repository isn't one
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "LC_ALL": "C",
    }


def _git(base: Path, *words: str, wrong: str) -> bytes:
    try:
        done = subprocess.run([*_command(base), *words], capture_output=True, env=_environment(base), check=False)
    except FileNotFoundError as error:
        raise InputError(f"{base}: git isn't installed, and `git` needs it", "Install git.") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
        raise InputError(f"{wrong} ({said})", "Correct `git` or `commit`.")
    return done.stdout


def _remote(base: Path) -> str | None:
    """The address of the repository's page, without whatever name and password its remote has; None for others than
    GitHub's way to name files, which GitLab and Gitea follow."""
    try:
        url = _git(base, "config", "--get", "remote.origin.url", wrong="").decode("utf-8", "replace").strip()
    except InputError:
        return None
    found = _REMOTE.fullmatch(url)
    return f"https://{found[1]}/{found[2]}" if found else None


def _commit_date(base: Path, commit: str) -> str:
    """When it was committed, in UTC."""
    seconds = int(_git(base, "show", "-s", "--format=%ct", commit, wrong=f"{base}: no {commit}").decode().strip())
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
