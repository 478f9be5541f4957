"""The socket, the signals and the connections of the server."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from bedplate.errors import UserError

SILENCE_S = 15.0
"""A client that connected, or began a request, and has sent no whole request head by then is shown the door."""
UNREAD_S = 60.0
"""A connection whose client has read nothing of what waits for it for so long is cut."""
LOOK_S = 3.0
"""How often a connection is looked at."""
MAX_HEAD = 32 * 2**10
"""Bytes of a request's line and headers."""
IDLE_S = 30
"""A connection is kept open for so long between two requests."""


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that has the address to itself and doesn't listen yet. Raises UserError where it can't have it."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise UserError(f"host {host!r}: not an address of this machine ({error})", "Try --host 127.0.0.1.") from error
    bound = socket.socket(family, kind, protocol)
    try:
        # A port whose last connections are still fading away can be had; one that somebody listens on can't.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(1)  # two sockets may be bound to one port as long as neither listens
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"port {port} of {host} is in use", "Stop what uses it, or take another: --port 0 finds a free one."
            ) from error
        if error.errno == errno.EACCES:
            raise UserError(f"port {port} is only for the administrator", "Take one from 1024 on.") from error
        raise UserError(f"host {host!r}, port {port}: {error.strerror}", "Try --host 127.0.0.1.") from error
    return bound


class ImpatientProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn has it, but clients that neither ask on nor read hold no connection."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._awaited: float | None = self.loop.time()  # since when a request's head is
        self._unread, self._unread_since = 0, self.loop.time()
        self._look = self.loop.call_later(LOOK_S, self._look_at)

    def connection_lost(self, exc: Exception | None) -> None:
        self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # Any byte ends the time that uvicorn gives a connection between two requests: ours begins with it.
        super().data_received(data)
        if self._busy:
            self._awaited = None
        elif self._awaited is None:
            self._awaited = self.loop.time()

    @property
    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _look_at(self) -> None:
        now, unread = self.loop.time(), self.transport.get_write_buffer_size()
        if not unread or unread < self._unread:
            self._unread_since = now
        self._unread = unread
        if now - self._unread_since > UNREAD_S:
            self.transport.abort()
            return
        if self._awaited is not None and now - self._awaited > SILENCE_S and not self._busy:
            self.transport.close()
        self._look = self.loop.call_later(LOOK_S, self._look_at)


class Server(uvicorn.Server):
    """uvicorn's server with our signals. The first one drains: no new connections, those under way are finished.
    A second one ends it at once. on_start: told when it answers; on_drain: told of the first signal."""

    def __init__(self, config: uvicorn.Config, *, on_start: Callable[[], None], on_drain: Callable[[], None]) -> None:
        super().__init__(config)
        self.received = 0
        """The first signal's number; 0 where none has come."""
        self._on_start, self._on_drain = on_start, on_drain

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            loop.add_signal_handler(number, self._note, number)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def _note(self, number: int) -> None:
        if self.received:
            self.force_exit = True
            return
        self.received = number
        self.should_exit = True
        self._on_drain()
