"""`Journal`: where a task is, written where it can be read after its process has died, and what is learnt from that.

A library that parses hostile pages may end the whole process, or never come back. The journal names the documents that
were being worked on; the task is done again, first with these one by one, then without the one that ended it.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

_FORM = struct.Struct("<4sqqq")
_MARK = b"at 1"

TOGETHER, ALONE, READING = 0, 1, 2
"""What is being done: some documents at once, beginning with this one; this one alone; reading this one."""


@dataclass(frozen=True)
class Place:
    """What a task is at. document: its number within the file (reading) or the task."""

    doing: int
    file: int
    document: int


@dataclass(frozen=True)
class Advice:
    """What earlier attempts at a task died of.

    careful: batches, by their first document, to be worked on one by one; lost: {document: how}; unreadable: {file:
    (document of the file, how)}, which is where reading it has to stop.
    """

    careful: frozenset[int] = frozenset()
    lost: dict[int, str] = field(default_factory=dict)
    unreadable: dict[int, tuple[int, str]] = field(default_factory=dict)

    def learn(self, place: Place, how: str) -> Advice | None:
        """What is known after one more death; None where it happened in spite of what was known."""
        if place.doing == READING:
            if place.file in self.unreadable:
                return None
            return replace(self, unreadable={**self.unreadable, place.file: (place.document, how)})
        if place.doing == ALONE:
            return None if place.document in self.lost else replace(self, lost={**self.lost, place.document: how})
        if place.document in self.careful:
            return None
        return replace(self, careful=self.careful | {place.document})


class Journal:
    """A task's own: 28 bytes in a file beside its folder, gone when the task is done."""

    def __init__(self, folder: Path) -> None:
        self._path = journal_path(folder)
        self._path.write_bytes(_FORM.pack(_MARK, -1, 0, 0))
        with self._path.open("r+b") as stream:
            self._map = mmap.mmap(stream.fileno(), _FORM.size)

    def at(self, doing: int, file: int, document: int) -> None:
        """The task is about to work on this."""
        self._map[:] = _FORM.pack(_MARK, doing, file, document)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._map.close()
        self._path.unlink(missing_ok=True)


def journal_path(partial: Path) -> Path:
    """The journal of the task that writes into this folder."""
    return partial.with_name(partial.name + ".at")


def last_place(target: Path, process: int) -> Place | None:
    """Where the process was in its work on the task of folder `target`; None if it kept no journal."""
    return _read(journal_path(partial_folder(target, process)))


def any_place(target: Path) -> Place | None:
    """Where whichever process that works on the task is; None if none keeps a journal."""
    for path in sorted(target.parent.glob(f"{target.name}.tmp-*.at")):
        if (place := _read(path)) is not None:
            return place
    return None


def _read(path: Path) -> Place | None:
    try:
        mark, doing, file, document = _FORM.unpack(path.read_bytes())
    except (OSError, struct.error):
        return None
    return Place(doing, file, document) if mark == _MARK and doing >= 0 else None


def partial_folder(target: Path, process: int | None = None) -> Path:
    """Where a process writes a task's files. Its number keeps apart a worker whose master was killed and that hasn't
    noticed yet."""
    return target.with_name(f"{target.name}.tmp-{os.getpid() if process is None else process}")
