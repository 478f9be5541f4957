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
"""A new connection that has sent no whole request head by then is closed."""
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
    """HTTP/1.1 as uvicorn has it, but a client that connects and then says nothing is shown the door."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.loop.call_later(SILENCE_S, self._close_if_silent)

    def _close_if_silent(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


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
