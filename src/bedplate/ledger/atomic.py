"""Writing so that a reader, a kill or a power cut finds the old bytes or the new ones, never a mixture."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from bedplate.console.figures import bytes_text
from bedplate.errors import StorageError

TEMPORARY = ".bedplate-tmp-"
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FULL_TEXTS = ("No space left on device", "os error 28", "Disk quota exceeded")
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}


def atomic_write(path: Path, content: bytes | str) -> None:
    """Replace the file at `path` by `content` (str as UTF-8): temporary file, fsync, rename, fsync of the folder.

    Raises StorageError, naming the path, if the disk is full or refuses; the old file is then untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    kept = f"{path} is as it was before" if path.exists() else f"{path} wasn't begun"
    with storage_errors(path.parent, needed=len(data), kept=kept):
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Have the file's bytes on the disk before returning."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Have the folder's names on the disk before returning. A file system that can't say so is believed."""
    with contextlib.suppress(OSError):
        sync_file(path)


@contextlib.contextmanager
def storage_errors(folder: Path, *, kept: str, needed: int | None = None) -> Iterator[None]:
    """Turn "disk full" and "may not write here" below into StorageError, saying what is kept."""
    try:
        yield
    except StorageError as error:
        if out_of_space(error.__cause__):  # whoever is further out knows better what is kept
            raise StorageError(error.problem, _make_room(kept)) from error
        raise
    except Exception as error:
        full = out_of_space(error)
        if full:
            what = "" if needed is None else f"; {bytes_text(needed)} more were needed"
            raise StorageError(
                f"{folder}: the disk is full ({_free(folder)} free{what})",
                _make_room(kept),
            ) from error
        if isinstance(error, OSError) and error.errno in _REFUSED and _within(error.filename, folder):
            raise StorageError(
                f"{error.filename}: can't be written: {os.strerror(error.errno)}",
                "Choose another folder, or change its permissions.",
            ) from error
        raise


def _make_room(kept: str) -> str:
    return f"{kept[0].upper()}{kept[1:]}. Make room on that disk and run the same command again."


def out_of_space(error: BaseException | None) -> bool:
    """Whether a full disk or quota is behind `error`. Libraries written in Rust or C++ say so in the text alone, and
    numpy only that it wrote less than it should."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        text = str(error)
        if any(sign in text for sign in _FULL_TEXTS) or _SHORT_WRITE.fullmatch(text):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def _within(filename: object, folder: Path) -> bool:
    if not isinstance(filename, str | os.PathLike):
        return False
    return Path(os.path.abspath(filename)).is_relative_to(os.path.abspath(folder))


def _free(folder: Path) -> str:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return bytes_text(shutil.disk_usage(folder).free)
    except OSError:
        return "an unknown number of bytes"
