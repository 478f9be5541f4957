"""`EventStream`: server-sent events, for as long as the client is there; and several continuations as one."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bedplate.serve.api_error import ApiError
from bedplate.serve.body import stopped
from bedplate.serve.continuation import Continuation, Piece

HEARTBEAT_S = 15.0
"""A comment is sent where nothing else was for so long, lest something on the way takes the connection for dead."""
FAREWELL_S = 2.0
"""How long a client whose time is up may take to be told so."""
BEHIND = 64
"""Pieces that wait for a client to read; then what makes them has to."""


class EventStream(Response):
    """Sends each object of `events` as one event, then "[DONE]".

    explain: an exception -> the error that the client is told, as the last event. on_end: called once it is over in
    whatever way, also where it never began.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[Mapping[str, Any]],
        *,
        explain: Callable[[Exception], ApiError],
        on_end: Callable[[], None],
        timeout: float,
    ) -> None:
        self.status_code, self.background = 200, None
        self._events, self._explain, self._on_end, self._timeout = events, explain, on_end, timeout
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(self._send(send))
        gone = asyncio.ensure_future(_gone(receive))
        late = False
        try:
            await asyncio.wait((sending, gone), timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
            late = not sending.done() and not gone.done()
            if sending.done():
                sending.result()
        finally:
            # The deadline stands outside of the sending, which hangs where the client doesn't read.
            await stopped(sending, gone)
            await self._events.aclose()
            self._on_end()
        if late:
            await self._tell_late(send)

    async def _tell_late(self, send: Send) -> None:
        """The last event of a stream whose time is up, if it can still be written; the server closes it either way."""
        problem = ApiError(504, f"the answer took longer than the {self._timeout:g} s that a request may take")
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(FAREWELL_S):
                await send({"type": "http.response.body", "body": _data(problem.content()), "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        lock = asyncio.Lock()
        beating = asyncio.ensure_future(_beat(send, lock))
        try:
            async for event in self._events:
                await _send_line(send, lock, _data(event))
            await _send_line(send, lock, b"data: [DONE]\n\n")
        except OSError:
            return  # the client has left
        except Exception as error:
            await _send_line(send, lock, _data(self._explain(error).content()))
        finally:
            await stopped(beating)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def merged(continuations: Sequence[Continuation]) -> AsyncGenerator[tuple[int, Piece]]:
    """The pieces of all as they come, each with the number of its continuation. The first error ends it."""
    queue: asyncio.Queue[tuple[int, Piece | Exception]] = asyncio.Queue(BEHIND)

    async def listen(number: int, continuation: Continuation) -> None:
        try:
            async for piece in continuation.pieces():
                await queue.put((number, piece))
        except Exception as error:
            await queue.put((number, error))

    listeners = [asyncio.ensure_future(listen(i, c)) for i, c in enumerate(continuations)]
    try:
        left = len(continuations)
        while left:
            number, piece = await queue.get()
            if isinstance(piece, Exception):
                raise piece
            left -= piece.answer is not None
            yield number, piece
    finally:
        await stopped(*listeners)


async def _beat(send: Send, lock: asyncio.Lock) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        await _send_line(send, lock, b": still at work\n\n")


async def _send_line(send: Send, lock: asyncio.Lock, line: bytes) -> None:
    async with lock:
        await send({"type": "http.response.body", "body": line, "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _data(event: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
