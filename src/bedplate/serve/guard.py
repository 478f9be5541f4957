"""`Guard`: what every request passes: its host, its key, and the headers of every answer."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bedplate.serve.api_error import ApiError

OPEN = frozenset({("GET", "/"), ("HEAD", "/"), ("GET", "/healthz"), ("HEAD", "/healthz")})
"""What can be had without a key: the page, which is the same for all and asks for the key, and the health check."""


class Guard:
    """Refuses all but `OPEN` without the key, where there is one; and names of this machine that it doesn't have.

    loopback: whether only this machine is served. A page of another site, whose own name was made to point here, would
    otherwise be the same origin for the browser (DNS rebinding): so the Host must be a name of the loopback.
    """

    def __init__(self, app: ASGIApp, *, key: str | None, loopback: bool, draining: Callable[[], bool]) -> None:
        self._app, self._loopback, self._draining = app, loopback, draining
        self._key = None if key is None else _digest(key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
                headers.setdefault("Cache-Control", "no-store")
                if self._draining():
                    headers["Connection"] = "close"
            await send(message)

        problem = self._problem(scope)
        answer = self._app if problem is None else problem.response()
        await answer(scope, receive, guarded)

    def _problem(self, scope: Scope) -> ApiError | None:
        headers = Headers(scope=scope)
        if self._loopback and not is_loopback(_host(headers.get("host", ""))):
            return ApiError(421, "this server is only for the machine that it runs on", code="wrong_host")
        if self._key is None or (scope["method"], scope["path"]) in OPEN:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(_digest(given.strip()), self._key):
            return None
        return ApiError(
            401,
            "no API key was given, or a wrong one: send it as Authorization: Bearer KEY",
            code="invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )


def is_loopback(host: str) -> bool:
    """Whether a name or address can only mean this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(header: str) -> str:
    """The host of a Host header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].lower()


def _digest(key: str) -> bytes:
    # Of one length whatever was sent, so that comparing takes the same time.
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
