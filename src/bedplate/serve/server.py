"""`bedplate serve`: models and everything made of them, over HTTP as the OpenAI API has it, with a page to chat on."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bedplate.console import Console
from bedplate.errors import UserError

if TYPE_CHECKING:
    from bedplate.serve.service import Service

SLOTS = 32
"""Sequences that a model decodes at once."""
REQUEST_S = 600.0
"""What a request may take, from its body to the last token."""
DRAIN_S = 30
"""How long requests under way may go on after a signal."""
SPARE_CONNECTIONS = 256
"""Open connections beyond those that can wait for an answer."""


def serve(
    models: Sequence[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    key_env: str | None = None,
    max_queue: int = 128,
    dtype: str | None = None,
    base: str | Path | None = None,
    slots: int = SLOTS,
    request_timeout: float = REQUEST_S,
    drain_timeout: int = DRAIN_S,
    console: Console | None = None,
) -> int:
    """Serve models until a signal comes; the exit code: 130 for Ctrl-C, 143 for SIGTERM.

    models: `PATH`, or `NAME=PATH` for a name other than the artefact's: models, runs, releases, encoders, and whatever
    `bedplate adapt` made. host: only this machine is served unless another address is named. port: 0 takes a free one.
    key_env: the environment variable that holds the key clients must give. max_queue: requests that may wait for each
    model; who comes beyond is told to come back (429). dtype: of models that write; what is fastest here where None.
    base: where the base of adapted things is now, for those whose folders name none, or another place. slots: answers
    that a model writes at once. request_timeout, drain_timeout: seconds that a request may take, and that
    requests may go on after a signal.

    Raises UserError for a port in use, a missing key, a name given twice, and what opening the models raises, all
    before anything is served.
    """
    console = console or Console()
    if not models:
        raise UserError("nothing to serve", "Name a model: bedplate serve FOLDER")
    key = _key(key_env)
    _check_extra()
    from bedplate.serve.guard import is_loopback
    from bedplate.serve.listening import bound_socket
    from bedplate.serve.naming import named_paths

    paths = named_paths(models)
    with bound_socket(host, port) as listener:
        if not is_loopback(host) and key is None:
            console.warn(
                f"{host} can be reached by others, and no key is asked for: whoever finds this server can use it "
                "(--key-env NAME)"
            )
        service = _service(
            paths,
            console,
            base=None if base is None else Path(base),
            dtype=dtype,
            slots=slots,
            max_queue=max_queue,
            timeout=request_timeout,
        )
        return _run(service, listener, host, key, max_queue, drain_timeout, console)


def _service(
    paths: dict[str, Path],
    console: Console,
    *,
    base: Path | None,
    dtype: str | None,
    slots: int,
    max_queue: int,
    timeout: float,
) -> Service:
    from bedplate.serve.catalogue import open_catalogue
    from bedplate.serve.service import Service
    from bedplate.serve.worker import Worker

    worker = Worker(console.warn)
    catalogue = open_catalogue(paths, worker, base=base, dtype=dtype, slots=slots, max_queue=max_queue, console=console)
    return Service(catalogue, worker, console.warn, timeout)


def _run(
    service: Service,
    listener: socket.socket,
    host: str,
    key: str | None,
    max_queue: int,
    drain_timeout: int,
    console: Console,
) -> int:
    import uvicorn

    from bedplate.serve.app import application
    from bedplate.serve.guard import is_loopback
    from bedplate.serve.listening import IDLE_S, MAX_HEAD, ImpatientProtocol, Server

    def ready() -> None:
        shown = f"[{host}]" if ":" in host else host
        for served in service.catalogue:
            console.say(f"{served.name}: {', '.join(served.abilities)}")
        console.say(f"serving on http://{shown}:{listener.getsockname()[1]} (Ctrl-C stops)")

    def drain() -> None:
        service.draining = True
        under_way = service.catalogue.load
        if under_way:
            console.say(f"finishing {under_way} requests for up to {drain_timeout} s; once more stops at once")

    config = uvicorn.Config(
        application(service, key=key, loopback=is_loopback(host)),
        http=ImpatientProtocol,
        ws="none",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=service.catalogue.capacity + SPARE_CONNECTIONS,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=drain_timeout,
        h11_max_incomplete_event_size=MAX_HEAD,
    )
    server = Server(config, on_start=ready, on_drain=drain)
    server.run(sockets=[listener])
    return 128 + server.received if server.received else 0


def _key(key_env: str | None) -> str | None:
    """The key that clients must give. Raises UserError where the variable that should hold it doesn't."""
    if key_env is None:
        return None
    key = os.environ.get(key_env, "").strip()
    if not key:
        raise UserError(f"the environment variable {key_env} is empty or isn't set", f"Set it: export {key_env}=...")
    if not key.isascii() or not key.isprintable():
        raise UserError(
            f"the environment variable {key_env} holds characters that clients can't send in a header",
            "Use a key of ASCII letters, digits and signs.",
        )
    return key


def _check_extra() -> None:
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"serving needs {error.name}, which isn't installed", "Install it: pip install 'bedplate[serve]'"
        ) from error
