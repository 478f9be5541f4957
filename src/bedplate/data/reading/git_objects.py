"""A repository's objects and references, read by git through a folder of our own, so that nothing of theirs is obeyed.

Git runs what a repository's settings name: pagers, signature checkers, transports of a partial clone. Here git is given
another git directory, with settings of our own, whose `refs`, `HEAD` and objects are theirs; of their settings two
values are read as data.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from bedplate.errors import InputError

_MEMORY = 4 << 30
_BLOCK = 1 << 16
_LARGEST_SETTINGS = 1 << 20
_LARGEST_COMMIT = 1 << 20
_HOST = re.compile(r"[\w-]+(?:\.[\w-]+)*")
_SCP = re.compile(r"(?:[\w.-]+@)?([\w-]+(?:\.[\w-]+)*):([\w./~+-]+)")
_PATH = re.compile(r"[\w./~+%-]+")
_COMMITTER = re.compile(rb"^committer [^\n]*> (-?\d{1,18}) [+-]\d{4}$", re.MULTILINE)


class Repository:
    """The repository whose top folder is `base`; to be used in a `with`. Raises InputError where there is none, and
    where git isn't installed."""

    def __init__(self, base: Path) -> None:
        self._base = base

    def __enter__(self) -> Repository:
        own, self._common = _folders(self._base)
        self._folder = Path(tempfile.mkdtemp(prefix="bedplate-git-"))
        try:
            (self._folder / "config").write_text(_SETTINGS.format(version=0, extensions=""))
            (self._folder / "refs").symlink_to((self._common / "refs").absolute())
            shutil.copyfile(own / "HEAD", self._folder / "HEAD")
            for name in ("packed-refs", "reftable"):
                if (self._common / name).exists():
                    (self._folder / name).symlink_to((self._common / name).absolute())
            extensions = "".join(
                f"\t{name} = {value}\n"
                for name, values in (("objectFormat", ("sha1", "sha256")), ("refStorage", ("files", "reftable")))
                if (value := (self._setting(f"extensions.{name}") or "").lower()) in values
            )
            if extensions:
                (self._folder / "config").write_text(_SETTINGS.format(version=1, extensions=extensions))
        except OSError as error:
            self.__exit__()
            raise InputError(f"{self._base}: its repository can't be read: {error}", "Make it readable.") from error
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def commit(self, name: str) -> str:
        """The full name of the commit that a branch, tag or abbreviation names. Raises InputError."""
        wrong = f"{self._base}: no commit {name!r} in a git repository there"
        if name.startswith("-"):
            raise InputError(wrong, "Correct `commit`.")
        return self._run("rev-parse", "--verify", f"{name}^{{commit}}", wrong=wrong).decode().strip()

    def listing(self, commit: str) -> Iterator[bytes]:
        """The lines of `git ls-tree` for everything below the commit, as git finds them. Raises InputError."""
        with self.start("ls-tree", "-r", "-z", "-l", "--full-tree", commit) as process:
            stream, rest = _pipe(process.stdout), b""
            while block := stream.read(_BLOCK):
                *lines, rest = (rest + block).split(b"\0")
                yield from lines
            if process.wait():
                raise InputError(f"{self._base}: can't list {commit}", "Correct `git` or `commit`, or fetch the rest.")

    def remote(self) -> str | None:
        """The address of the repository's page: host and path of its remote, with whatever else that holds (names,
        passwords, tokens) left out. None where it isn't plain what is the host."""
        return page(self._setting("remote.origin.url") or "")

    @contextlib.contextmanager
    def start(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A git that runs, ended with the `with`."""
        process = self._popen(*words)
        try:
            yield process
        finally:
            end(process)

    def _popen(self, *words: str) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(
                ["git", "--no-pager", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environment(),
                cwd=self._folder,
            )
        except FileNotFoundError as error:
            raise InputError(f"{self._base}: git isn't installed, and `git` needs it", "Install git.") from error
        _bound(process.pid)
        return process

    def _environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        return kept | {
            "GIT_DIR": os.fspath(self._folder),
            "GIT_OBJECT_DIRECTORY": os.fspath((self._common / "objects").absolute()),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_ALLOW_PROTOCOL": "none",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }

    def _run(self, *words: str, wrong: str) -> bytes:
        with self.start(*words) as process:
            said = _pipe(process.stdout).read(_LARGEST_SETTINGS)
            if process.wait():
                raise InputError(wrong, "Correct `git` or `commit`.")
            return said

    def _setting(self, name: str) -> str | None:
        """A value of theirs. Git takes a named file for data: no file that it includes, and nothing that it says."""
        theirs = self._common / "config"
        if not theirs.is_file() or theirs.stat().st_size > _LARGEST_SETTINGS:
            return None
        command = ("config", "--file", os.fspath(theirs.absolute()), "--no-includes", "--get", name)
        with contextlib.suppress(InputError):
            return self._run(*command, wrong="").decode("utf-8", "replace").strip()
        return None


_SETTINGS = """[core]
\trepositoryformatversion = {version}
\tbare = true
\thooksPath = /dev/null
\tfsmonitor = false
\tuseReplaceRefs = false
[log]
\tshowSignature = false
[protocol]
\tallow = never
[extensions]
{extensions}"""


class Objects:
    """Asks one `git cat-file` for objects."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def __enter__(self) -> Objects:
        self._process = self._repository._popen("cat-file", "--batch")
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)

    def read(self, sha: str) -> bytes | None:
        """The file that the object is, or None where it can't be had."""
        return self._read(sha, b"blob", None)

    def commit_time(self, commit: str) -> int | None:
        """Seconds since 1970 at which it was committed; None where it doesn't say."""
        data = self._read(commit, b"commit", _LARGEST_COMMIT) or b""
        found = _COMMITTER.search(data.partition(b"\n\n")[0])
        return int(found[1]) if found else None

    def _read(self, sha: str, kind: bytes, longest: int | None) -> bytes | None:
        asked, answers = _pipe(self._process.stdin), _pipe(self._process.stdout)
        try:
            asked.write(sha.encode() + b"\n")
            asked.flush()
            return self._answer(answers, kind, longest)
        except BrokenPipeError:  # git gave up over a damaged object: go on with another
            self.__exit__()
            self.__enter__()
            return None

    def _answer(self, answers: IO[bytes], kind: bytes, longest: int | None) -> bytes | None:
        words = answers.readline().split()
        if not words:
            raise BrokenPipeError
        if len(words) != 3 or not words[2].isdigit():
            return None
        size = int(words[2])
        if longest is not None and size > longest:
            raise BrokenPipeError
        data = answers.read(size)
        if len(data) < size:
            raise BrokenPipeError
        answers.read(1)
        return data if words[1] == kind else None


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process, whether or not it has said all that it had to say."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()
    process.kill()
    process.wait()


def page(url: str) -> str | None:
    """https://host/path of a remote's address."""
    if "://" not in url:
        found = _SCP.fullmatch(url)
        host, path = (found[1], found[2]) if found else ("", "")
    else:
        try:
            parts = urlsplit(url)
            host, path, _ = parts.hostname or "", parts.path, parts.port
        except ValueError:
            return None
        if parts.scheme not in ("http", "https", "ssh", "git"):
            return None
    path = path.strip("/").removesuffix(".git")
    return f"https://{host}/{path}" if _HOST.fullmatch(host) and _PATH.fullmatch(path) else None


def _folders(base: Path) -> tuple[Path, Path]:
    """Where the HEAD of the working tree is, and where what all of its repository's trees have in common."""
    own = base / ".git"
    if own.is_file():  # of a submodule, or a further working tree
        said = own.read_bytes()[:4096].decode("utf-8", "surrogateescape").partition("\n")[0]
        own = base / said.removeprefix("gitdir:").strip() if said.startswith("gitdir:") else base
    elif not own.is_dir():
        own = base
    common = own
    if (named := own / "commondir").is_file():
        common = own / named.read_bytes()[:4096].decode("utf-8", "surrogateescape").strip()
    if not ((own / "HEAD").is_file() and (common / "objects").is_dir() and (common / "refs").is_dir()):
        raise InputError(f"{base}: no git repository, of which `git` takes the top folder", "Correct `git`.")
    return own, common


def _bound(process: int) -> None:
    """Hold what git may allocate for objects that unpack to far more than they are; packs are mapped beside it."""
    with contextlib.suppress(ImportError, AttributeError, OSError, ValueError):
        import resource

        resource.prlimit(process, resource.RLIMIT_DATA, (_MEMORY, _MEMORY))


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
