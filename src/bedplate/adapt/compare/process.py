"""Starting a worker, listening to it, and ending it when its time is over or ours is."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bedplate.adapt.compare.job import Job
from bedplate.adapt.compare.worker import FAILED
from bedplate.console.figures import duration

WORKER = "bedplate.adapt.compare.worker"
GRACE_S = 10.0
"""How long a worker may take to end in order after SIGTERM: it may be keeping a training step."""
KEPT_LINES = 30
_LOOK_S = 0.2


@dataclass(frozen=True)
class Failure:
    """Why a way couldn't be compared. trace: for whoever mends it."""

    problem: str
    fix: str | None = None
    trace: str | None = None


def perform(job: Job, hear: Callable[[dict[str, Any]], None], limit_s: float | None) -> Failure | None:
    """Do the job in a process of its own. hear: called with each event of its console. Returns why it failed, or None.

    Whatever ends this call, a signal's exception too, ends the process.
    """
    with tempfile.TemporaryDirectory(prefix="bedplate-compare-") as folder:
        told = Path(folder) / "job.json"
        told.write_text(job.model_dump_json(), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-m", WORKER, str(told)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        try:
            return _listen(process, hear, limit_s)
        finally:
            _end(process)


def _listen(
    process: subprocess.Popen[str], hear: Callable[[dict[str, Any]], None], limit_s: float | None
) -> Failure | None:
    lines: queue.Queue[str | None] = queue.Queue()
    assert process.stderr is not None
    threading.Thread(target=_read, args=(process.stderr, lines), daemon=True).start()
    began, plain = time.monotonic(), list[str]()
    failure: Failure | None = None
    while True:
        if limit_s is not None and time.monotonic() - began > limit_s:
            return Failure(
                f"stopped after {duration(limit_s)}, the limit for one way",
                "Raise limit_s, or give the way less to do.",
            )
        try:
            line = lines.get(timeout=_LOOK_S)
        except queue.Empty:
            continue
        if line is None:
            break
        event = _event(line)
        if event is None:
            plain = [*plain, line.rstrip()][-KEPT_LINES:]
        elif event["event"] == FAILED:
            failure = Failure(event["problem"], event.get("fix"), event.get("trace"))
        else:
            hear(event)
    code = process.wait()
    if failure is not None or code == 0:
        return failure
    said = "\n".join(plain) or None
    if code < 0:
        name = signal.Signals(-code).name
        hint = "It may have run out of memory." if -code == signal.SIGKILL else None
        return Failure(f"its process was ended by {name}", hint, said)
    return Failure(f"its process ended with exit code {code}", None, said)


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    with contextlib.suppress(ValueError, OSError):  # closed at the end
        for line in stream:
            lines.put(line)
    lines.put(None)


def _event(line: str) -> dict[str, Any] | None:
    """The console's event in a line; None for what libraries print as they please."""
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("event"), str) else None


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
