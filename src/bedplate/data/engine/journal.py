"""`Journal`: where a task is, written where it can be read after its process has died, and what is learnt from that.

A library that parses hostile pages may end the whole process, or never come back. The journal names the documents that
were being worked on; the task is done again, first with these one by one, then without the one that ended it. But a
process may also be ended by chance: by the kernel, where memory is short, or by a person. So one death loses nothing;
a document is given up when it has been the end of two processes.
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

TOGETHER, ALONE, READING, WRITING = 0, 1, 2, 3
"""What is being done: some documents at once, beginning with this one; this one alone; reading this one; writing what
became of those from this one on."""
TOO_LONG = "took too long"
"""How a process ended that was ended by its master, for being at one place for too long."""
BY_CHANCE = 8
"""So many places of one task may each see one death, before chance is no explanation any more."""
RESTARTS = 200
"""So often a task is begun again in all."""


@dataclass(frozen=True)
class Place:
    """What a task is at. document: its number within the file (reading) or the task."""

    doing: int
    file: int
    document: int


@dataclass(frozen=True)
class Advice:
    """What earlier attempts at a task died of.

    careful: batches, by their first document, to be worked on one by one; each: all of them are; lost: {document: how};
    unreadable: {file: (document of the file, how)}, which is where reading it has to stop. once: where one process has
    died, which may have been chance; None: nowhere that is known. deaths: how many there were.
    """

    careful: frozenset[int] = frozenset()
    each: bool = False
    lost: dict[int, str] = field(default_factory=dict)
    unreadable: dict[int, tuple[int, str]] = field(default_factory=dict)
    once: frozenset[Place | None] = frozenset()
    deaths: int = 0

    def one_by_one(self, first: int) -> bool:
        """Whether the batch that begins with this document is worked on one by one."""
        return self.each or first in self.careful

    def learn(self, place: Place | None, how: str) -> Advice | None:
        """What is known after one more death; None where the task isn't to be tried again: it died in spite of what
        was known, twice where no document can be blamed, at more than BY_CHANCE places or more than RESTARTS times.

        To work one by one loses nothing, so it follows from one death; that a document is lost, or a file ends with
        it, takes two at the same one.
        """
        known = replace(self, deaths=self.deaths + 1)
        if known.deaths > RESTARTS:
            return None
        if place is not None and place.doing == TOGETHER:
            if self.one_by_one(place.document):
                return None
            if how == TOO_LONG:  # the next batch may be no quicker
                return replace(known, each=True)
            return replace(known, careful=self.careful | {place.document})._once(place)
        if place not in self.once:
            return known._once(place)
        if place is None or place.doing == WRITING:
            return None
        if place.doing == READING:
            # What comes later gets other numbers, by which nothing is known any more.
            return replace(
                known,
                unreadable={**self.unreadable, place.file: (place.document, how)},
                careful=frozenset(),
                lost={},
                once=frozenset(one for one in self.once - {place} if one is not None and one.doing == READING),
            )
        batch = max((first for first in self.careful if first <= place.document), default=-1)
        explained = {place, Place(TOGETHER, 0, batch)}
        return replace(known, lost={**self.lost, place.document: how}, once=self.once - explained)

    def _once(self, place: Place | None) -> Advice | None:
        once = self.once | {place}
        return replace(self, once=once) if len(once) <= BY_CHANCE else None


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


def forget_places(target: Path) -> None:
    """Take away the journals of processes that died over the task: nobody is there any more."""
    for path in target.parent.glob(f"{target.name}.tmp-*.at"):
        path.unlink(missing_ok=True)


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
