"""The labelling routes together: an ASGI application for one session, behind a token that the page holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bedplate.console import Console
from bedplate.errors import BedplateError
from bedplate.serve.api_error import ApiError, refused
from bedplate.serve.body import GONE, read_body
from bedplate.serve.guard import Guard
from bedplate.serve.labelling.session import Session
from bedplate.serve.page import page

Handler = Callable[[Request, dict[str, Any]], dict[str, Any]]


class _Answer(JSONResponse):
    """JSON in which halves of surrogate pairs, which UTF-8 can't spell, are question marks."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(errors="replace")


def application(session: Session, token: str, console: Console) -> Starlette:
    """token: what every request but that for the page must bring, as `Authorization: Bearer`.

    A page of another site can't know it; nor can its script read an answer, or send JSON, without a permission that is
    never given here (CORS). A request that says it comes from elsewhere is refused all the same.
    """

    def route(path: str, method: str, handler: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                _check_origin(request)
                body = _object(await read_body(request)) if method == "POST" else {}
                return _Answer(await run_in_threadpool(handler, request, body))
            except ClientDisconnect:
                return Response(status_code=GONE)
            except ApiError as error:
                return error.response()
            except BedplateError as error:  # the corpus or the labels file has changed under us, or the disk is full
                console.warn(str(error))
                return ApiError(500, f"{error.problem} {error.fix or ''}".strip()).response()

        return Route(path, endpoint, methods=[method])

    async def the_page(request: Request) -> Response:
        return page("bedplate.serve.labelling")

    return Starlette(
        routes=[
            Route("/", the_page, methods=["GET"]),
            route("/api/state", "GET", lambda request, body: session.state()),
            route("/api/next", "GET", lambda request, body: session.next(_number(request, "after", -1))),
            route("/api/document", "GET", lambda request, body: session.document(_number(request, "at"))),
            route(
                "/api/text", "GET", lambda request, body: session.more(_number(request, "at"), _number(request, "from"))
            ),
            route("/api/agreement", "GET", lambda request, body: session.agreement()),
            route("/api/say", "POST", lambda request, body: session.say(body)),
            route("/api/undo", "POST", lambda request, body: session.undo()),
        ],
        middleware=[Middleware(Guard, key=token, loopback=True, draining=lambda: False)],
        exception_handlers={HTTPException: _refuse},
    )


def _check_origin(request: Request) -> None:
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise ApiError(403, "this server answers to its own page only", code="wrong_origin")


def _number(request: Request, name: str, otherwise: int | None = None) -> int:
    given = request.query_params.get(name)
    if given is None and otherwise is not None:
        return otherwise
    try:
        return int((given or "")[:20])
    except ValueError:
        raise refused(f"{name} is a whole number", name) from None


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise refused("the body must be a JSON object")
    return found


async def _refuse(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    told = {404: "there is nothing at this path", 405: "this path doesn't know the method"}
    return ApiError(status, told.get(status, "refused"), headers=getattr(error, "headers", None)).response()
