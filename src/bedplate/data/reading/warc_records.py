"""The records of a WARC (ISO 28500) or ARC file, and everything in it that is no record: nothing is passed over unsaid.

A record counts as whole where its header can be read, its block is as long as the header says, a boundary follows, and
the gzip member that it ends in checks out. From damage on, the next record is looked for; what lies between is a `Gap`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from bedplate.data.reading.crawled import LARGEST_RECORD, site_file
from bedplate.data.reading.gzip_members import Place, Plain, segments

_WARC = re.compile(rb"WARC/\d\.\d[ \t]*\r?\n")
_NEXT_WARC = re.compile(rb"\nWARC/\d\.\d[ \t]*\r?\n[A-Za-z-]+:")
_ARC_LINE = (
    rb"((?:[A-Za-z][A-Za-z0-9+.-]{1,20}://|dns:)[^\n]{1,4000}?) ([0-9A-Fa-f.:]{3,45}|-) (\d{12,18}) "
    rb"([^\n]{0,256}?) ?(-?\w{1,12})[ \t]*\r?\n"
)
_ARC = re.compile(_ARC_LINE)
_NEXT_ARC = re.compile(rb"\n" + _ARC_LINE)
_OVERLAP = 8192
_LONGEST_HEADER = 1 << 16
# So many wrong lengths of a segment are followed to where they lead; a file made of nothing else would take for ever.
_TRUSTED = 64


@dataclass(frozen=True)
class Record:
    """A whole record. headers: names in lower case; those of an ARC record under the names that WARC has for them.

    offset: the byte in the file where it begins, or where the gzip member does that holds its beginning. block: its
    content, None where that is longer than was allowed.
    """

    offset: int
    type: str
    headers: dict[str, str]
    block: bytes | None
    length: int


@dataclass(frozen=True)
class Gap:
    """Bytes that make no whole record. bytes: how many of the file as far as that is known, at least; within
    a gzip member, how many of those that it unpacks to."""

    offset: int
    bytes: int
    reason: str
    problem: str


def begins_record(data: bytes) -> bool:
    """Whether a WARC or an ARC record begins with these bytes."""
    return _WARC.match(data) is not None or _ARC.match(data) is not None


def records(stream: BinaryIO, longest: int, *, called_gzip: bool) -> Iterator[Record | Gap]:
    """Everything in the file, in order. longest: bytes beyond which a record's block isn't held."""
    reader = segments(stream, begins_record, called_gzip=called_gzip)
    empty = True
    while reader.advance():
        for found in _Segment(reader, longest).records():
            empty = False
            yield found
    if empty:
        size = reader.size()
        yield Gap(0, size, "empty_file", "it holds no record" + ("" if size else ": the file is empty"))


class _Segment:
    """Reads one segment: usually all of a plain file, or one record of a gzipped one."""

    def __init__(self, reader: Plain, longest: int) -> None:
        self._reader, self._longest = reader, longest
        self._given = 0
        self._wrong = 0
        self._from = 0

    def records(self) -> Iterator[Record | Gap]:
        reader = self._reader
        reader.strip(b"\r\n")
        while reader.peek(1):
            found = self._record()
            if reader.damage is not None and not reader.behind and not reader.peek(1):
                break  # the record that was just read is as little to be trusted as what follows it
            yield found
            self._given += isinstance(found, Record)
            reader.strip(b"\r\n")
        if reader.damage is not None:
            yield self._damaged()

    def _damaged(self) -> Gap:
        offset, damage = self._reader.damaged_at, self._reader.damage
        found = self._reader.recover()
        end = self._reader.size() if found is None else found
        until = "to the end of the file" if found is None else f"to the next record that can be read, at byte {found}"
        doubtful = self._given and not self._reader.behind
        before = f"; {self._given} earlier in the same gzip member may be damaged too" if doubtful else ""
        problem = f"{damage}: all that lies from byte {offset} {until} is lost{before}"
        return Gap(offset, max(0, end - offset), "damaged_gzip", problem)

    def _record(self) -> Record | Gap:
        """The record that begins here, or what there is up to the next that may be one."""
        reader, start = self._reader, self._reader.offset
        self._from = reader.position
        head = reader.peek(_OVERLAP)
        if _WARC.match(head):
            headers = self._warc_header()
            is_arc = False
        elif (arc := _ARC.match(head)) is not None:
            reader.readline(_OVERLAP)
            headers, is_arc = _arc_header(*arc.groups()), True
        else:
            return self._lost(start, b"", "not_a_record", "no record begins there")
        if headers is None:
            return self._lost(start, b"", "damaged_header", "its header doesn't end")
        length = headers.get("content-length", "")
        if not re.fullmatch(r"[0-9]{1,15}", length):
            return self._lost(start, b"", "wrong_length", f"its header says Content-Length {length[:20]!r}")
        return self._content(start, headers, int(length), is_arc=is_arc)

    def _content(self, start: int, headers: dict[str, str], length: int, *, is_arc: bool) -> Record | Gap:
        reader = self._reader
        kind = headers.get("warc-type", "").strip().lower() or "unknown"
        behind = reader.offset
        place = None
        if self._wrong >= _TRUSTED and _NEXT.search(reader.peek(min(length, _OVERLAP))) is not None:
            return self._lost(
                start, b"", "wrong_length", "another record begins within what its header says is its own"
            )
        of_a_site = site_file(headers.get("warc-target-uri", "").strip("<>")) is not None
        if length <= (max(self._longest, LARGEST_RECORD) if of_a_site else self._longest):
            block: bytes | None = reader.read(length)
            got = len(block or b"")
        else:
            block = None
            if reader.gzipped:
                got, place = reader.pass_over(length, _NEXT, _OVERLAP, stop=self._wrong >= _TRUSTED)
            else:
                got = reader.skip(length)
        back = block or b""
        if got < length:
            problem = f"its header says that {length:,} bytes follow, and there are {got:,}"
            self._return(place, None if block is not None or reader.gzipped else behind)
            return self._lost(start, back, "truncated", problem)
        if not self._boundary(is_arc=is_arc):
            problem = f"no record ends {length:,} bytes behind its header, as that says"
            self._return(place, None if block is not None or reader.gzipped else behind)
            return self._lost(start, back, "wrong_length", problem)
        return Record(start, kind, headers, block, length)

    def _return(self, place: Place | None, behind: int | None) -> None:
        """To where the search for the next record goes on, after a length that was wrong."""
        if place is not None:
            self._reader.back(place)
        elif behind is not None:
            self._reader.seek(behind)

    def _boundary(self, *, is_arc: bool) -> bool:
        """Whether a record may end here. What the standard puts there is proof enough, even before damage."""
        reader = self._reader
        if not is_arc and reader.peek(4) == b"\r\n\r\n":
            reader.read(4)
            return True
        rest = reader.peek(_OVERLAP).lstrip(b"\r\n")
        return not rest or begins_record(rest)

    def _warc_header(self) -> dict[str, str] | None:
        """The fields up to the empty line, or None if that doesn't come. The first of several of a name counts."""
        reader = self._reader
        reader.readline(256)
        headers: dict[str, str] = {}
        name, size = "", 0
        while (line := reader.readline(_LONGEST_HEADER)).endswith(b"\n"):
            size += len(line)
            if size > _LONGEST_HEADER:
                return None
            text = line.rstrip(b"\r\n").decode("utf-8", "replace")
            if not text:
                return headers
            if text[0] in " \t" and name:
                headers[name] += " " + text.strip()
                continue
            key, colon, value = text.partition(":")
            if not colon:
                return None
            name = key.strip().lower()
            headers.setdefault(name, value.strip())
        return None

    def _lost(self, start: int, held: bytes, reason: str, problem: str) -> Gap:
        """Go to the next record, which may lie in the bytes held."""
        reader = self._reader
        self._wrong += 1
        reader.unread(held)
        before = reader.offset
        reader.unread(b"\n")  # as a record may begin right here
        found = reader.scan(_NEXT, _OVERLAP)
        end = reader.offset
        if found:
            until = f"; the next record begins at byte {end}" if not reader.gzipped else ""
        else:
            until = ", and no other record follows" + (" in its gzip member" if reader.gzipped else "")
        size = max(end - start, end - before, 0)
        if reader.gzipped:
            size = max(size, reader.position - self._from)
            until += f"; {reader.position - self._from:,} bytes of what was unpacked are lost"
        return Gap(start, size, reason, problem + until)


_NEXT = re.compile(_NEXT_WARC.pattern + rb"|" + _NEXT_ARC.pattern)


def _arc_header(url: bytes, address: bytes, date: bytes, kind: bytes, length: bytes) -> dict[str, str]:
    """An ARC record's line of fields in WARC's words (Internet Archive, Arc File Format, version 1; of version 2's
    further fields, which stand between type and length, none is told from the type)."""
    location = url.decode("utf-8", "replace")
    stamp = date.decode()[:14].ljust(14, "0")
    return {
        "warc-type": "warcinfo" if location.startswith("filedesc:") else "response",
        "warc-target-uri": location,
        "warc-date": f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}T{stamp[8:10]}:{stamp[10:12]}:{stamp[12:14]}Z",
        "warc-ip-address": address.decode("utf-8", "replace"),
        "arc-content-type": kind.decode("utf-8", "replace").partition(" ")[0],
        "content-length": length.decode(),
    }
