"""One process at a time on an artefact: a lock file beside the folder, and who holds it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bedplate.errors import BusyError
from bedplate.ledger.atomic import storage_errors


@contextlib.contextmanager
def folder_lock(out: Path) -> Iterator[None]:
    """Hold the lock of the artefact at `out`, or raise BusyError at once, saying who has it.

    The kernel holds the lock (flock), so that of a dead process is free again. The lock file stays behind: removing it
    would let two processes lock two different files of one name.
    """
    from filelock import FileLock, Timeout

    path = lock_path(out)
    with storage_errors(out.parent, kept="nothing was begun"):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise BusyError(
                f"{out}: another process is at work on it{_holder(path)}",
                "Wait until it has finished, or stop it; or choose another folder.",
            ) from None
    holder = path.with_suffix(".holder")
    try:
        with contextlib.suppress(OSError):  # a full disk must not keep a finished artefact from being found
            holder.write_text(json.dumps(_me()))
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def lock_path(out: Path) -> Path:
    """The lock file of the artefact at `out`: hidden, beside it."""
    return out.with_name(f".{out.name}.lock")


def _me() -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _holder(path: Path) -> str:
    try:
        who = json.loads(path.with_suffix(".holder").read_bytes())
        return f" (process {who['pid']} on {who['host']}, since {who['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
