"""`Stay`: how long a worker has been at one place, without the time in which it was kept from going on.

A laptop may sleep, a process may be stopped, and a machine with too much to do lets everybody wait: none of that is the
document's fault. So where Linux tells (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html), time counts while
the worker sleeps of its own will, as over a connection or a lock, and otherwise as far as it used the processor.
Elsewhere, and for workers of other machines, it is the clock's. In any case no look counts for more than `_GAP_S`, so
that a master that was itself kept from looking takes nothing for granted.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from bedplate.data.engine.journal import Place

_GAP_S = 2.0


class Stay:
    """Of one worker. process: its number on this machine; None: it is on another, or that isn't known."""

    def __init__(self, process: int | None = None) -> None:
        self._process = process
        self._place: Place | None = None
        self._spent = 0.0
        self._looked = time.monotonic()
        self._processor: float | None = None

    def seconds(self, place: Place | None) -> float:
        """How long it has been at `place`, where it is now; 0 where it is nowhere. To be asked every second or so."""
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, _GAP_S), now
        sleeping, processor = usage(self._process)
        before, self._processor = self._processor, processor
        if place is None or place != self._place:
            self._place, self._spent = place, 0.0
        elif sleeping or processor is None or before is None:
            self._spent += passed
        else:
            self._spent += min(processor - before, passed)
        return self._spent


def usage(process: int | None) -> tuple[bool, float | None]:
    """Whether a process sleeps of its own will, and the processor seconds that it has used, where that is known."""
    if process is None:
        return False, None
    try:
        # The name of the program stands in parentheses, and may hold some itself.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return fields[0] == "S", (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return False, None
