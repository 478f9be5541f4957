"""A file's bytes in segments, plain or gzipped, where every byte that can't be had is told.

`zlib` and the readers built on it go over damage in silence, or give up the rest of the file. Here a segment ends where
the bytes are damaged, `damage` says how, and `recover` finds the next place from which reading makes sense (RFC 1952).
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

_BLOCK = 1 << 16
_MAGIC = b"\x1f\x8b\x08"
_START = 4096

Begins = Callable[[bytes], bool]
"""Whether a record begins with these bytes."""


@dataclass(frozen=True)
class Place:
    """Where a reader was. position: in what the file unpacks to. offset: that of the stream below. buffer: what was
    unpacked beyond the position; inflater, raw, over: the state of the unpacking behind that."""

    position: int
    offset: int
    buffer: bytes
    inflater: zlib._Decompress | None
    raw: bytes
    over: bool


class Plain:
    """The bytes of an uncompressed file: one segment. `offset` is that of the next byte."""

    gzipped = False

    def __init__(self, stream: BinaryIO, begins: Begins) -> None:
        self.damage: str | None = None
        self.behind = False  # whether the damage lies behind a member that is whole
        self._started = False
        self._stream, self._begins = stream, begins
        self._buffer, self._at, self._end = b"", 0, 0

    @property
    def offset(self) -> int:
        return self._end - len(self._buffer) + self._at

    @property
    def position(self) -> int:
        """Where the next byte is in what the file unpacks to."""
        return self.offset

    def advance(self) -> bool:
        """Go to the next segment. False: the file has no more."""
        if self._started:
            return False
        self._started = True
        return self.peek(1) != b""

    @property
    def damaged_at(self) -> int:
        """Where the damaged member begins."""
        return self.offset

    def recover(self) -> int | None:
        """After damage: the offset of the next segment, or None if there is none."""
        return None

    def size(self) -> int:
        """Bytes of the file."""
        here = self._stream.tell()
        size = self._stream.seek(0, os.SEEK_END)
        self._stream.seek(here)
        return size

    def seek(self, offset: int) -> None:
        """Have the byte at `offset` be the next one."""
        self._end = self._stream.seek(offset)
        self._buffer, self._at = b"", 0

    def peek(self, count: int) -> bytes:
        """The next bytes, up to `count`; fewer only at the segment's end."""
        while len(self._buffer) - self._at < count and (more := self._more()):
            self._buffer, self._at = self._buffer[self._at :] + more, 0
        return self._buffer[self._at : self._at + count]

    def read(self, count: int) -> bytes:
        """As `peek`, and goes on behind them."""
        here = self._buffer[self._at : self._at + count]
        self._at += len(here)
        if len(here) == count:
            return here
        parts, missing = [here], count - len(here)
        while missing and (more := self._more()):
            self._buffer, self._at = more, min(missing, len(more))
            parts.append(more[: self._at])
            missing -= self._at
        return b"".join(parts)

    def skip(self, count: int) -> int:
        """Pass over up to `count` bytes, holding few of them; how many there were."""
        start = self.offset
        self.seek(min(start + count, self.size()))
        return self.offset - start

    def pass_over(
        self, count: int, pattern: re.Pattern[bytes], overlap: int, *, stop: bool
    ) -> tuple[int, Place | None]:
        """As `skip`, and looks for `pattern` (which begins with a line's "\\n") on the way: how many bytes there were,
        and where the first line is that it finds, for `back`. stop: go no further than that."""
        left, place = count, None
        while left:
            if place is None:
                window = self.peek(min(left, _BLOCK) + overlap)
                if (found := pattern.search(window)) is not None and found.start() + 1 < min(left, _BLOCK):
                    place = self._place(found.start() + 1)
                    if stop:
                        return count - left + found.start() + 1, place
            got = len(self.read(min(left, _BLOCK)))
            left -= got
            if not got:
                break
        return count - left, place

    def _place(self, ahead: int) -> Place:
        return Place(self.position + ahead, self.offset, b"", None, b"", False)

    def back(self, place: Place) -> None:
        """Have the byte at that place be the next one."""
        self.seek(place.position)

    def readline(self, limit: int) -> bytes:
        """The next line with its end, or `limit` bytes of it."""
        size = 256
        while True:
            window = self.peek(size)
            end = window.find(b"\n") + 1
            if end or size >= limit or len(window) < size:
                return self.read(end or min(limit, len(window)))
            size = min(2 * size, limit)

    def strip(self, bytes_: bytes) -> None:
        """Pass over what there is of the bytes given."""
        while window := self.peek(64):
            rest = window.lstrip(bytes_)
            self._at += len(window) - len(rest)
            if rest:
                return

    def unread(self, data: bytes) -> None:
        """Have bytes that were just read be the next ones again."""
        self._buffer, self._at = data + self._buffer[self._at :], 0

    def scan(self, pattern: re.Pattern[bytes], overlap: int) -> bool:
        """Go to the next line that `pattern` (which begins with its line's "\\n") finds. False: none in the segment."""
        while True:
            window = self.peek(_BLOCK + overlap)
            if (found := pattern.search(window)) is not None:
                self._at += found.start() + 1
                return True
            if len(window) < _BLOCK + overlap:
                self._at += len(window)
                return False
            self._at += _BLOCK

    def _more(self) -> bytes:
        data = self._stream.read(_BLOCK)
        self._end += len(data)
        return data


class Members(Plain):
    """The bytes of a gzipped file. A segment is one or more members: a new one begins with each member that `begins` a
    record, so that no record can swallow the next one's member. `offset` is that of the member of the next byte."""

    gzipped = True

    def __init__(self, stream: BinaryIO, begins: Begins) -> None:
        super().__init__(stream, begins)
        self._raw, self._raw_end = b"", 0  # compressed bytes that the inflater hasn't seen, and where they end
        self._inflater, self._over = zlib.decompressobj(31), False
        self._member = self._next_member = 0
        self._first = b""  # what was looked at of the next segment
        self._unpacked = 0

    @property
    def offset(self) -> int:
        return self._member

    @property
    def position(self) -> int:
        return self._unpacked - len(self._buffer) + self._at

    def _place(self, ahead: int) -> Place:
        rest = self._buffer[self._at + ahead :]
        place = self._stream.tell(), rest, self._inflater.copy(), self._raw, self._over
        return Place(self.position + ahead, *place)

    def back(self, place: Place) -> None:
        self._first, self.damage, self.behind = b"", None, False
        self._raw_end = self._stream.seek(place.offset)
        self._buffer, self._at = place.buffer, 0
        self._unpacked = place.position + len(place.buffer)
        self._raw, self._over = place.raw, place.over
        if place.inflater is not None:
            self._inflater = place.inflater

    @property
    def damaged_at(self) -> int:
        return max(self._member, self._next_member)

    def skip(self, count: int) -> int:
        left = count
        while left and (got := len(self.read(min(left, _BLOCK)))):
            left -= got
        return count - left

    def advance(self) -> bool:
        self.damage, self.behind, self._buffer, self._at = None, False, b"", 0
        if self._started and not self._first:
            return False
        if not self._started:
            self._started = True
            if self.peek(1) or self.damage is not None or not self._first:
                return bool(self._buffer) or self.damage is not None
        self._buffer, self._first, self._member = self._first, b"", self._next_member
        self._unpacked += len(self._buffer)
        return True

    def recover(self) -> int | None:
        position = self.damaged_at + 1
        try:
            self._stream.seek(position)
        except (OSError, ValueError):  # a download that can't go back
            return None
        window = b""
        while True:
            block = self._stream.read(_BLOCK)
            window += block
            at = 0
            while (at := window.find(_MAGIC, at)) >= 0:
                if len(window) - at < _START and block:
                    break
                if self._try(position + at, window[at : at + _START]):
                    return position + at
                at += 1
            if not block:
                return None
            keep = len(window) - at if at >= 0 else len(_MAGIC) - 1
            position += max(0, len(window) - keep)
            window = window[-keep:]

    def _try(self, offset: int, window: bytes) -> bool:
        """Whether a member begins there that begins a record; if so, reading goes on from it."""
        trial = zlib.decompressobj(31)
        try:
            found = trial.decompress(window, _START)
        except zlib.error:
            return False
        if not self._begins(found):
            return False
        self._stream.seek(offset)
        self._raw, self._raw_end = b"", offset
        self._inflater, self._over = zlib.decompressobj(31), False
        self._next_member, self.damage = offset, None
        self._first = self._inflate()
        return bool(self._first)

    def _more(self) -> bytes:
        if self.damage is not None or self._first:
            return b""
        while True:
            if (data := self._inflate()) or self.damage is not None:
                self._unpacked += len(data)
                return data
            if not self._begin_member():
                return b""
            data = self._inflate()
            while data and len(data) < 16 and self.damage is None and (rest := self._inflate()):
                data += rest
            if self.damage is not None:  # before it could be told whether a record begins: what came before is whole
                self.behind = True
                return b""
            if self._begins(data):
                self._first = data
                return b""
            if data:
                # A record goes on in it; should it be damaged, it is here that the search begins.
                self._unpacked += len(data)
                return data

    def _inflate(self) -> bytes:
        """The next bytes of the member; none at its end, or where it is damaged."""
        while not self._over:
            data = self._inflater.unconsumed_tail or self._raw or self._fetch()
            if data is self._raw:
                self._raw = b""
            try:
                out = self._inflater.decompress(data, _BLOCK)
            except zlib.error as error:
                self.damage = f"damaged gzip ({str(error).rpartition(': ')[2]})"
                return b""
            if self._inflater.eof:
                self._over, self._raw = True, self._inflater.unused_data
            if out:
                return out
            if not data and not self._over:
                self.damage = "the file ends in the middle of its gzip stream"
                return b""
        return b""

    def _begin_member(self) -> bool:
        """Go to the next gzip member. False at the file's end, or where something else stands."""
        data = self._raw
        while True:  # zeros may fill up the file (gzip's own tool lets them pass)
            data = data.lstrip(b"\0")
            if len(data) >= 10 or not (more := self._fetch()):
                break
            data += more
        if not data:
            self._raw = b""
            return False
        offset = self._raw_end - len(data)
        self._raw = data
        self._next_member = offset
        if not data.startswith(_MAGIC):
            self.damage = f"{len(data)} bytes or more from byte {offset} on that are no gzip"
            self.behind = True
            return False
        self._inflater, self._over = zlib.decompressobj(31), False
        return True

    def _fetch(self) -> bytes:
        data = self._stream.read(_BLOCK)
        self._raw_end += len(data)
        return data


def segments(stream: BinaryIO, begins: Begins, *, called_gzip: bool) -> Plain:
    """The reader for the file that `stream` is at the beginning of. It has to be able to seek.

    called_gzip: whether its name says that it is gzipped, which decides where its first bytes are damaged.
    """
    head = stream.read(_START)
    stream.seek(0)
    gzipped = head[:2] == _MAGIC[:2] or (called_gzip and head != b"" and not begins(head))
    return Members(stream, begins) if gzipped else Plain(stream, begins)
