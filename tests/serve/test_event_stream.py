"""A stream whose client doesn't read, or whose time is up."""

from __future__ import annotations

import asyncio
import time

from bedplate.serve.api_error import ApiError
from bedplate.serve.continuation import Piece
from bedplate.serve.event_stream import EventStream, merged


async def numbers():
    for i in range(10**9):
        yield {"i": i}
        await asyncio.sleep(0.001)


async def stays():
    await asyncio.Event().wait()


def stream(ended, timeout=0.2):
    return EventStream(
        numbers(), explain=lambda error: ApiError(500, str(error)), on_end=lambda: ended.append(1), timeout=timeout
    )


def test_a_client_that_does_not_read_is_given_up_when_its_time_is(monkeypatch):
    """Sending hangs, as flow control has it where buffers are full: the deadline holds nevertheless."""
    monkeypatch.setattr("bedplate.serve.event_stream.FAREWELL_S", 0.1)
    ended, sent = [], []

    async def send(message):
        sent.append(message)
        if len(sent) > 3:
            await stays()

    started = time.monotonic()
    asyncio.run(asyncio.wait_for(stream(ended)({}, stays, send), 10))
    assert ended == [1]
    assert time.monotonic() - started < 5


def test_a_client_that_reads_is_told_that_its_time_is_up():
    ended, sent = [], []

    async def send(message):
        sent.append(message.get("body", b""))
        if b"504" in sent[-1] or b"longer than" in sent[-1]:
            assert ended == [1]

    asyncio.run(asyncio.wait_for(stream(ended)({}, stays, send), 10))
    assert b"longer than the 0.2 s" in sent[-2]
    assert sent[-1] == b""


def test_what_nobody_takes_is_not_gathered():
    class Endless:
        made = 0

        async def pieces(self):
            while True:
                self.made += 1
                yield Piece("x")

    async def script():
        source = Endless()
        pieces = merged([source])
        await anext(pieces)
        await asyncio.sleep(0.05)
        await pieces.aclose()
        return source.made

    assert asyncio.run(script()) < 100
