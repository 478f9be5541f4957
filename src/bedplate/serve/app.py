"""The routes together: an ASGI application that serves a catalogue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bedplate.serve.api_error import ApiError
from bedplate.serve.body import GONE
from bedplate.serve.chat_route import chat
from bedplate.serve.completion_route import complete
from bedplate.serve.guard import Guard
from bedplate.serve.page import page
from bedplate.serve.service import Service
from bedplate.serve.text_routes import classify, embed
from bedplate.serve.worker import gone

Handler = Callable[[Service, Request], Awaitable[Response]]


def application(service: Service, *, key: str | None, loopback: bool) -> Starlette:
    """key: what clients must give, if anything. loopback: whether only this machine is served."""

    def route(path: str, method: str, handler: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                if method == "POST" and not service.worker.alive:
                    raise gone()
                return await handler(service, request)
            except ClientDisconnect:
                return Response(status_code=GONE)
            except Exception as error:
                return service.explain(error).response()

        return Route(path, endpoint, methods=[method])

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.worker.start()
        try:
            yield
        finally:
            service.worker.stop()
            service.stop()

    return Starlette(
        routes=[
            route("/", "GET", _page),
            route("/healthz", "GET", _health),
            route("/v1/models", "GET", _models),
            route("/v1/models/{name:path}", "GET", _model),
            route("/v1/chat/completions", "POST", chat),
            route("/v1/completions", "POST", complete),
            route("/v1/embeddings", "POST", embed),
            route("/v1/classify", "POST", classify),
        ],
        middleware=[Middleware(Guard, key=key, loopback=loopback, draining=lambda: service.draining)],
        exception_handlers={HTTPException: _refuse},
        lifespan=lifespan,
    )


async def _page(service: Service, request: Request) -> Response:
    return page("bedplate.serve")


async def _health(service: Service, request: Request) -> Response:
    """Counts, and no names: this can be had without a key."""
    status = "draining" if service.draining else "ok" if service.worker.alive else "failed"
    sessions = [lane.session for lane in service.worker.lanes]
    counts = {
        "active": sum(session.active for session in sessions),
        "waiting": sum(session.waiting for session in sessions),
        "requests": service.catalogue.load,
    }
    return JSONResponse({"status": status, **counts}, status_code=200 if status == "ok" else 503)


async def _models(service: Service, request: Request) -> Response:
    return JSONResponse({"object": "list", "data": [served.described() for served in service.catalogue]})


async def _model(service: Service, request: Request) -> Response:
    return JSONResponse(service.catalogue.find(request.path_params["name"]).described())


async def _refuse(request: Request, error: Exception) -> Response:
    """Paths and methods that aren't there."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    told = {404: "there is nothing at this path", 405: "this path doesn't know the method"}
    headers = getattr(error, "headers", None)
    return ApiError(status, told.get(status, "refused"), headers=headers).response()
