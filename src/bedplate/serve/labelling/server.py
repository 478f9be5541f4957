"""`bedplate label`: a page on this machine on which a corpus's documents are labelled."""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bedplate.console import Console
from bedplate.console.figures import counted
from bedplate.errors import UserError

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from bedplate.serve.labelling.order import Order, Which
    from bedplate.serve.labelling.session import Session

HOST = "127.0.0.1"
MOST_CHOICES = 9
CONNECTIONS = 64
DRAIN_S = 5
_PSEUDONYM = re.compile(r"[\w.-]{1,64}")


def label(
    corpus: Path,
    labels: Path,
    choices: Sequence[str],
    annotator: str,
    guideline: Path | None = None,
    order: Order = "random",
    *,
    column: str | None = None,
    which: Which = "all",
    seed: int = 0,
    most: int | None = None,
    port: int = 0,
    console: Console | None = None,
) -> int:
    """Serve the labelling page until a signal comes; the exit code: 130 for Ctrl-C, 143 for SIGTERM.

    corpus: its folder. labels: the JSON Lines file to append to; several annotators may use one at once, each with a
    server of their own. choices: up to nine labels, with the keys 1 to 9. annotator: a pseudonym, no name or address.
    guideline: a text that the page shows, and whose version goes into every label. order: see `ordered`; column: the
    probability that order `uncertain` goes by. which: of kept and dropped documents. most: no more than so many.
    port: 0 takes a free one. The address that is printed holds a token: only who has it can read and label.

    Raises UserError for settings that can't be, a port in use, and what opening corpus, labels and guideline raises,
    all before anything is served.
    """
    console = console or Console()
    _check(choices, annotator, most)
    _check_extra()
    from bedplate.serve.labelling.app import application
    from bedplate.serve.listening import bound_socket

    session = _session(
        corpus, labels, choices, annotator, guideline, order, column=column, which=which, seed=seed, most=most
    )
    token = secrets.token_urlsafe(24)
    with bound_socket(HOST, port) as listener:
        state = session.state()
        console.say(
            f"{counted(state['total'], 'document')} to label as {annotator}, {state['labelled']} done; into {labels}"
        )
        return _run(application(session, token, console), listener, token, console)


def _check(choices: Sequence[str], annotator: str, most: int | None) -> None:
    if not 2 <= len(choices) <= MOST_CHOICES or len(set(choices)) != len(choices) or not all(map(str.strip, choices)):
        raise UserError(
            f"labels to choose from: {', '.join(choices) or 'none'}",
            f"Give two to {MOST_CHOICES}, all different: each has a key of its own.",
        )
    if not _PSEUDONYM.fullmatch(annotator):
        raise UserError(
            f"annotator {annotator!r}",
            "Give a pseudonym of letters, digits, '.', '-' and '_': it goes into every label.",
        )
    if most is not None and most < 1:
        raise UserError(f"most: {most} documents", "Give one at least.")


def _session(
    corpus: Path,
    labels: Path,
    choices: Sequence[str],
    annotator: str,
    guideline: Path | None,
    order: Order,
    *,
    column: str | None,
    which: Which,
    seed: int,
    most: int | None,
) -> Session:
    from bedplate.data.labels.documents import LabelledCorpus
    from bedplate.data.labels.store import LabelFile
    from bedplate.serve.labelling.guideline import read_guideline
    from bedplate.serve.labelling.order import ordered
    from bedplate.serve.labelling.session import Session

    read = None if guideline is None else read_guideline(guideline)
    opened = LabelledCorpus(corpus)
    if labels.resolve().is_relative_to(corpus.resolve()):
        raise UserError(
            f"{labels}: inside the corpus, which is complete and stays as it is", "Choose a file outside of it."
        )
    queue = ordered(opened, order, column=column, which=which, seed=seed, most=most)
    return Session(opened, LabelFile(labels), queue, choices=choices, annotator=annotator, guideline=read)


def _run(app: Starlette, listener: socket.socket, token: str, console: Console) -> int:
    import uvicorn

    from bedplate.serve.listening import IDLE_S, MAX_HEAD, ImpatientProtocol, Server

    def ready() -> None:
        # Browsers send what stands behind the # to nobody.
        console.say(f"label on http://{HOST}:{listener.getsockname()[1]}/#{token} (Ctrl-C stops)")

    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=DRAIN_S,
        h11_max_incomplete_event_size=MAX_HEAD,
    )
    server = Server(config, on_start=ready, on_drain=lambda: None)
    server.run(sockets=[listener])
    return 128 + server.received if server.received else 0


def _check_extra() -> None:
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"labelling needs {error.name}, which isn't installed", "Install it: pip install 'bedplate[serve]'"
        ) from error
