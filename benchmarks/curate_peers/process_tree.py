"""Runs a command and reports what its whole process tree took: CPU time, wall time, and memory as it went.

Memory is the sum over the tree's processes of PSS (/proc/PID/smaps_rollup: shared pages count once in all), or of RSS
where the kernel doesn't let us read that, which counts shared pages once a process and so overstates. The tree is the
command's session: a process whose parent died stays in it. Samples are --interval seconds apart; what comes and goes
between two of them isn't seen. The standard library alone, Linux alone (`man 5 proc`).
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """`at` in seconds since the start; `memory` in bytes; `label` is what the caller's probe said then."""

    at: float
    memory: int
    processes: int
    label: str


@dataclass
class Usage:
    """What a finished command took."""

    returncode: int
    wall_s: float
    cpu_s: float
    """User and system time of the command and of all descendants that were waited for."""
    measured: str
    """"pss" or "rss"."""
    output: str
    """Its last standard output and error, mixed."""
    samples: list[Sample] = field(default_factory=list)

    @property
    def peak(self) -> int:
        """Bytes."""
        return max((sample.memory for sample in self.samples), default=0)

    def peaks(self) -> dict[str, int]:
        """Bytes for each label, in the order in which they came."""
        found: dict[str, int] = {}
        for sample in self.samples:
            found[sample.label] = max(found.get(sample.label, 0), sample.memory)
        return found


def session_members(session: int) -> list[int]:
    """Ids of the processes of a session."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == session:
                found.append(int(entry))
    return found


def memory(process: int) -> tuple[int, str]:
    """Bytes, and whether they are "pss" or "rss"; 0 for a process that has just ended."""
    try:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024, "pss"
    except PermissionError:
        pass
    except (FileNotFoundError, ProcessLookupError):
        return 0, "pss"
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0, "rss"
    return pages * os.sysconf("SC_PAGE_SIZE"), "rss"


def run(
    command: Sequence[str | Path],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    interval: float = 0.1,
    probe: Callable[[], str] = str,
) -> Usage:
    """Run to the end in a session of its own, with its output in `log`; never raises for a failing command."""
    began = time.monotonic()
    with log.open("wb") as output:
        child = subprocess.Popen(
            [str(part) for part in command], env=environment, stdout=output, stderr=output, start_new_session=True
        )
    usage = Usage(0, 0.0, 0.0, "pss", "")
    while True:
        ended, status, resources = os.wait4(child.pid, os.WNOHANG)
        if ended:
            break
        members = session_members(child.pid)
        sizes = [memory(member) for member in members]
        if any(kind == "rss" for _, kind in sizes):
            usage.measured = "rss"
        usage.samples.append(Sample(time.monotonic() - began, sum(size for size, _ in sizes), len(members), probe()))
        time.sleep(interval)
    usage.wall_s = time.monotonic() - began
    usage.cpu_s = resources.ru_utime + resources.ru_stime
    usage.returncode = child.returncode = os.waitstatus_to_exitcode(status)
    usage.output = log.read_text(errors="replace")[-4000:]
    return usage
