"""`LabelFile`: labels as JSON Lines that are only ever appended to, by several processes at once if need be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bedplate.data.labels.record import Label, parse
from bedplate.errors import BusyError, InputError, UserError
from bedplate.ledger.atomic import storage_errors, sync_folder

_WAIT_S = 20.0


class LabelFile:
    """The labels file at `path`, which the first label makes.

    A label is on the disk when `append` returns. A line that a kill cut short was promised to nobody: readers pass over
    it, and the next writer takes it away. A whole record counts without its line's end too, as an editor may leave it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._records: list[Label] = []

    def append(self, *records: Label) -> None:
        """Write the records as one piece. Raises BusyError where another process keeps the file locked, StorageError
        for a full disk: then none of them is in the file."""
        with storage_errors(self.path.parent, kept=f"the labels in {self.path.name} are as they were"), self._alone():
            new = not self.path.exists()
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
            try:
                end = _mended(descriptor)
                try:
                    _write(descriptor, b"".join(record.line() for record in records), end)
                    os.fsync(descriptor)
                except BaseException:
                    os.ftruncate(descriptor, end)
                    raise
            finally:
                os.close(descriptor)
            if new:
                sync_folder(self.path.parent)

    def records(self) -> list[Label]:
        """Every record so far, in order; only what is new is read. Raises InputError, naming the line, for one that
        isn't a label."""
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._offset:  # somebody put another file here
                    self._offset, self._records = 0, []
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            self._offset, self._records = 0, []
            return []
        except OSError as error:
            raise UserError(f"{self.path}: can't be read: {error.strerror}", "Give a labels file.") from error
        end = data.rfind(b"\n") + 1
        whole = data if _is_record(data[end:]) else data[:end]
        fresh = list(self._parsed(whole))
        self._records += fresh
        self._offset += len(whole)
        return list(self._records)

    def _parsed(self, data: bytes) -> Iterator[Label]:
        for number, line in enumerate(filter(None, data.split(b"\n")), len(self._records) + 1):
            try:
                yield parse(line)
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"{self.path} record {number}: not a label: {error}",
                    "Mend or remove the line, or name another file.",
                ) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        from filelock import FileLock, Timeout

        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=_WAIT_S):
                yield
        except Timeout:
            raise BusyError(
                f"{self.path}: another process has kept it locked for {_WAIT_S:g} s", "Try again, or stop that process."
            ) from None


def _mended(descriptor: int) -> int:
    """Where to write on: behind the last whole record, all beyond which is cut off."""
    size = end = os.lseek(descriptor, 0, os.SEEK_END)
    tail = b""
    while end:
        begin = max(0, end - 4096)
        os.lseek(descriptor, begin, os.SEEK_SET)
        piece = os.read(descriptor, end - begin)
        found = piece.rfind(b"\n") + 1
        tail = piece[found:] + tail
        end = begin + found
        if found:
            break
    if _is_record(tail):
        _write(descriptor, b"\n", size)
        return size + 1
    if end < size:
        os.ftruncate(descriptor, end)
    return end


def _is_record(line: bytes) -> bool:
    try:
        parse(line)
    except (ValueError, RecursionError):
        return False
    return True


def _write(descriptor: int, data: bytes, at: int) -> None:
    os.lseek(descriptor, at, os.SEEK_SET)
    while data:
        data = data[os.write(descriptor, data) :]
