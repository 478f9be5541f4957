"""What other processes take of this machine while we measure: a timing without it can't be believed.

Read from Linux's /proc/stat and /proc/PID/stat (`man 5 proc`); None where the system has neither.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")


@dataclass(frozen=True)
class Load:
    """Shares of all of the machine's cores over `seconds`, each 0 to 1."""

    own: float
    """This process, its children and theirs."""
    foreign: float
    """Every other process on the machine."""
    stolen: float
    """Time that the hypervisor gave to other virtual machines."""
    seconds: float


class LoadWatch:
    """Counts from its making on: `watch = LoadWatch(); work(); watch.load()`.

    The kernel counts in ticks of about 10 ms, so a share over less than half a second is coarse. In a container the
    machine is the whole host, whose other work slows ours as well.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._started = time.monotonic()
        self._first = _read(root)

    def load(self) -> Load | None:
        """The load since the watch was made; None where the system doesn't tell or no tick has passed."""
        now = _read(self._root)
        if self._first is None or now is None:
            return None
        total = now.total - self._first.total
        if total <= 0:
            return None
        own = max(0, now.own - self._first.own)
        stolen = max(0, now.stolen - self._first.stolen)
        busy = max(0, now.busy - self._first.busy)
        return Load(
            own=min(1.0, own / total),
            foreign=min(1.0, max(0, busy - own) / total),
            stolen=min(1.0, stolen / total),
            seconds=time.monotonic() - self._started,
        )


def foreign_cpu_share(seconds: float = 0.5) -> float | None:
    """Share of the machine's cores, 0 to 1, that other processes and virtual machines take in the next `seconds`."""
    watch = LoadWatch()
    time.sleep(seconds)
    load = watch.load()
    return None if load is None else min(1.0, load.foreign + load.stolen)


@dataclass(frozen=True)
class _Ticks:
    total: int
    busy: int
    stolen: int
    own: int


def _read(root: Path) -> _Ticks | None:
    """The machine's ticks so far and our own share of them."""
    # Our own are read first: what we use in between counts as foreign rather than hiding somebody else's.
    try:
        own = _own_ticks(root, os.getpid())
        first = (root / "proc/stat").read_text().partition("\n")[0].split()
    except OSError:
        return None
    if len(first) < 9 or first[0] != "cpu":
        return None
    user, nice, system, idle, iowait, irq, softirq, steal = (int(field) for field in first[1:9])
    busy = user + nice + system + irq + softirq
    return _Ticks(total=busy + idle + iowait + steal, busy=busy, stolen=steal, own=own)


def _own_ticks(root: Path, pid: int) -> int:
    """Ticks of the process, its living descendants, and the dead ones that were waited for."""
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for folder in (root / "proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:  # it ended while we looked
            continue
        fields = text.rpartition(")")[2].split()  # the command's name before it may hold spaces and brackets
        process, parent = int(folder.name), int(fields[1])
        ticks[process] = sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime
        children.setdefault(parent, []).append(process)
    total, waiting = 0, [pid]
    while waiting:
        process = waiting.pop()
        total += ticks.get(process, 0)
        waiting.extend(children.get(process, ()))
    return total
