"""Reading a request's body within bounds, and doing work for a client for as long as it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from bedplate.serve.api_error import ApiError

T = TypeVar("T")

MAX_BODY = 2 * 2**20
BODY_TIMEOUT_S = 30.0
GONE = 499
"""What nginx calls the status of a request whose client has left; nobody receives it."""


async def read_body(request: Request) -> bytes:
    """The body. Raises ApiError: 413 beyond `MAX_BODY`, 415 unless it is said to be JSON, 408 where it doesn't come."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # A page of another site can send a form or plain text here without being asked by the browser; JSON it can't.
        raise ApiError(415, "the body must be JSON, with Content-Type: application/json")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > MAX_BODY:
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in request.stream():
                body += part
                if len(body) > MAX_BODY:
                    raise _too_large()
    except TimeoutError:
        raise ApiError(
            408, f"the body didn't arrive within {BODY_TIMEOUT_S:g} s", headers={"Connection": "close"}
        ) from None
    return bytes(body)


async def while_connected(request: Request, work: Coroutine[Any, Any, Response], timeout: float) -> Response:
    """What `work` gives; it is cancelled where the client leaves first or the time is up (504)."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(disconnected(request))
    try:
        await asyncio.wait((task, gone), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            return Response(status_code=GONE)
        raise ApiError(504, f"the answer took longer than the {timeout:g} s that a request may take", code="timeout")
    finally:
        await stopped(task, gone)


async def disconnected(request: Request) -> None:
    """Returns when the client has left. Only once the body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def stopped(*tasks: asyncio.Future[Any]) -> None:
    """Cancel what isn't done and wait until it has cleaned up."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _too_large() -> ApiError:
    return ApiError(
        413, f"the body is larger than {MAX_BODY} bytes", code="body_too_large", headers={"Connection": "close"}
    )


__all__ = ["ClientDisconnect", "disconnected", "read_body", "stopped", "while_connected"]
