"""An HTTP response as a crawl recorded it (RFC 9112): its status, its headers, and its body as it was meant."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? +(\d{3})[^\n]*\n")
_END = re.compile(rb"\r?\n\r?\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;[^\n]*)?\r?\n")
_LONGEST_HEADER = 1 << 16
_WINDOW = 1 << 14
_MOST_MEMBERS = 10_000


class BodyError(ValueError):
    """The body can't be decoded. `reason` is the short word for it."""

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason


class TooLargeError(Exception):
    """The body comes to more bytes than were allowed."""


@dataclass(frozen=True)
class Response:
    """status: 200. headers: names in lower case; the values of a repeated one joined by ", " (RFC 9110, 5.3)."""

    status: int
    headers: dict[str, str]
    body: bytes


def parse(block: bytes) -> Response | None:
    """The response in a record's block, with its body still encoded; None where that is no HTTP response."""
    status = _STATUS.match(block)
    if status is None:
        return None
    end = _END.search(block, status.end() - 2, status.end() + _LONGEST_HEADER)
    if end is None:
        return None
    headers: dict[str, str] = {}
    name = ""
    for line in block[status.end() : end.start()].decode("utf-8", "replace").split("\n"):
        if line[:1] in (" ", "\t") and name:
            headers[name] += " " + line.strip()
            continue
        key, _, value = line.partition(":")
        name = key.strip().lower()
        if name:
            headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    return Response(int(status[1]), headers, block[end.end() :])


def decoded(response: Response, largest: int) -> bytes:
    """The body without its transfer and content encodings.

    A body that isn't encoded as its headers say is given as it is: crawlers that decode it keep the headers. Raises
    TooLargeError, BodyError.
    """
    body = response.body
    if "chunked" in response.headers.get("transfer-encoding", "").lower():
        body = _dechunked(body)
    encodings = [e.strip().lower() for e in response.headers.get("content-encoding", "").split(",") if e.strip()]
    for encoding in reversed(encodings[:4]):
        body = _decoders().get(encoding, _unknown(encoding))(body, largest)
    if len(body) > largest:
        raise TooLargeError
    return body


def _dechunked(body: bytes) -> bytes:
    parts, at = list[bytes](), 0
    while (size := _CHUNK.match(body, at)) is not None:
        length = int(size[1], 16)
        if not length:
            return b"".join(parts)
        chunk = body[size.end() : size.end() + length]
        parts.append(chunk)
        at = size.end() + length
        at += 2 if body.startswith(b"\r\n", at) else body.startswith(b"\n", at)
        if len(chunk) < length:
            break
    if not parts:
        return body
    raise BodyError("bad_encoding", f"its chunks break off or are damaged at byte {min(at, len(body))} of the body")


def _gunzipped(body: bytes, largest: int) -> bytes:
    if not body.startswith(b"\x1f\x8b"):
        return body
    return inflated(body, largest, 31)


def _deflated(body: bytes, largest: int) -> bytes:
    if not body:
        return body
    try:
        return inflated(body, largest, 15)
    except BodyError:  # many servers send it without zlib's frame, and some don't compress at all
        try:
            return inflated(body, largest, -15)
        except BodyError:
            return body if body.lstrip()[:1] == b"<" else inflated(body, largest, 15)


def inflated(data: bytes, largest: int, window: int) -> bytes:
    """What `zlib` makes of it, all members. Raises BodyError, and TooLargeError before it holds more than `largest`."""
    parts, left, at = list[bytes](), largest, 0
    for _ in range(_MOST_MEMBERS):
        inflater = zlib.decompressobj(window)
        # In windows, as an inflater copies all that it is given beyond the member's end.
        while not inflater.eof:
            piece = inflater.unconsumed_tail or data[at : at + _WINDOW]
            at += 0 if inflater.unconsumed_tail else len(piece)
            if not piece:
                raise BodyError("bad_encoding", "its compression breaks off")
            try:
                part = inflater.decompress(piece, left + 1)
            except zlib.error as error:
                raise BodyError("bad_encoding", f"its compression is damaged ({error})") from error
            left -= len(part)
            if left < 0:
                raise TooLargeError
            parts.append(part)
        at -= len(inflater.unused_data)
        if not data.startswith(b"\x1f\x8b", at):
            return b"".join(parts)
    raise BodyError("bad_encoding", f"it is made of more than {_MOST_MEMBERS:,} compressed pieces")


def _unbrotlied(body: bytes, largest: int) -> bytes:
    try:
        brotli = import_module("brotli")
    except ImportError as error:
        raise BodyError("unknown_encoding", "it is encoded as br, and the package brotli isn't installed") from error
    decompressor = brotli.Decompressor()
    try:
        out: bytes = decompressor.process(body, output_buffer_limit=largest + 1)
        while len(out) <= largest and not decompressor.is_finished():
            more: bytes = decompressor.process(b"", output_buffer_limit=largest + 1 - len(out))
            if not more:
                raise BodyError("bad_encoding", "its compression breaks off")
            out += more
    except brotli.error as error:
        if body.lstrip()[:1] == b"<":
            return body
        raise BodyError("bad_encoding", f"its compression is damaged ({error})") from error
    if len(out) > largest:
        raise TooLargeError
    return out


def _same(body: bytes, largest: int) -> bytes:
    return body


def _unknown(encoding: str) -> Callable[[bytes, int], bytes]:
    def decode(body: bytes, largest: int) -> bytes:
        if body.lstrip()[:1] == b"<":
            return body
        raise BodyError("unknown_encoding", f"it is encoded as {encoding[:40]!r}, which isn't known here")

    return decode


def _decoders() -> dict[str, Callable[[bytes, int], bytes]]:
    return {
        "gzip": _gunzipped, "x-gzip": _gunzipped, "deflate": _deflated, "br": _unbrotlied,
        "identity": _same, "none": _same, "utf-8": _same,
    }  # fmt: skip
