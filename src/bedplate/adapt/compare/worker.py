"""The process of one way with one seed: `python -m bedplate.adapt.compare.worker job.json`.

What it has to say goes to stderr, one JSON object a line. Its standard input is a lifeline: when that ends, whoever
started it is gone, and it goes too.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bedplate.adapt.compare.job import Job
from bedplate.console import Console
from bedplate.errors import BedplateError

FAILED = "failed"
"""The event that says why the work couldn't be done."""


def main(arguments: list[str]) -> int:
    """Do the job in the file that is named. Returns the exit code."""
    signal.signal(signal.SIGTERM, _unwind)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the parent decides
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    try:
        from bedplate.adapt.compare.measure import do

        do(Job.model_validate_json(Path(arguments[0]).read_bytes()), Console("json"))
    except BedplateError as error:
        _tell(error.problem, error.fix, None)
        return error.exit_code
    except MemoryError:
        _tell("out of memory", "Give the machine more memory, or the way less to do (batch, length).", None)
        return 1
    except Exception as error:
        _tell(f"{type(error).__name__}: {error}", None, traceback.format_exc())
        return 1
    return 0


def _tell(problem: str, fix: str | None, trace: str | None) -> None:
    event = {"event": FAILED, "problem": problem, "fix": fix, "trace": trace}
    sys.stderr.write(json.dumps(event, ensure_ascii=False) + "\n")
    sys.stderr.flush()


def _unwind(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signum)


def _leave_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
