"""The process that reads PDFs for this one: started with the first, kept for the next, started anew after it died."""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
from typing import Any

from bedplate.data.reading.limits import Limits
from bedplate.data.reading.pdf_child import receive, send

SECONDS = 120.0


class PdfDiedError(Exception):
    """The reading process came to its end over a file: of its limits, or of a fault."""


class PdfProcess:
    """A reading process. One question at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def read(self, data: bytes, limits: Limits, seconds: float) -> dict[str, Any]:
        """What `pdf_child` answers. Raises PdfDiedError."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self.close()
                self._process = _started()
            process = self._process
            late = threading.Event()

            def stop() -> None:
                late.set()
                process.kill()

            timer = threading.Timer(seconds, stop)
            timer.daemon = True
            timer.start()
            answer = None
            try:
                if process.stdin is not None and process.stdout is not None:
                    send(process.stdin, json.dumps({"pages": limits.pages, "largest": limits.largest}).encode())
                    send(process.stdin, data)
                    process.stdin.flush()
                    answer = receive(process.stdout)
            except BrokenPipeError:
                pass
            finally:
                timer.cancel()
                if answer is None:
                    self.close()
            if answer is None:
                ended = f"after {seconds:g} seconds" if late.is_set() else "out of memory, or by a fault of pdfium"
                raise PdfDiedError(f"its reader was ended {ended}")
            found: dict[str, Any] = json.loads(answer)
            return found

    def close(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        process.wait()


def pdf_process() -> PdfProcess:
    """That of this process: one that was there before a fork is its parent's to talk to."""
    global _own
    if _own is None or _own[0] != os.getpid():
        _own = os.getpid(), PdfProcess()
        atexit.register(_own[1].close)
    return _own[1]


_own: tuple[int, PdfProcess] | None = None


def _started() -> subprocess.Popen[bytes]:
    found = importlib.util.find_spec("bedplate.data.reading.pdf_child")
    script = found.origin if found is not None and found.origin is not None else ""
    # -P: beside the script lie modules that have the names of the standard library's.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        [sys.executable, "-P", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
