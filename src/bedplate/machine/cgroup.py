"""The limits that Linux control groups put on this process: how much CPU time and memory it may really use.

A container that may use two cores of a 96-core host still sees 96 cores; a run that starts 96 threads there crawls.
Both versions of the interface are read (v1 and v2, and the two side by side), along the whole path from this process's
group to the root, because a parent's limit binds as well. See the kernel's `admin-guide/cgroup-v2` and
`cgroup-v1/memory`.

Every function takes the root of the file tree, so that a test can lay out its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
UNLIMITED = 1 << 60
"""cgroup v1 spells "no limit" as the greatest page-aligned 63-bit number; nothing real comes near this."""


@dataclass(frozen=True)
class MemoryGroup:
    """A memory limit in bytes and how much of it is taken; page cache that can be dropped at once isn't counted."""

    limit: int
    used: int


def cpu_limit(root: Path = ROOT) -> float | None:
    """Cores' worth of CPU time that this process's groups may use (1.5: one and a half); None: no limit."""
    limits: list[float] = []
    for version, folder in _groups(root, "cpu"):
        if version == 2:
            quota, _, period = _text(folder / "cpu.max").partition(" ")
        else:
            quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(quota) > 0 and int(period) > 0:
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def memory_limit(root: Path = ROOT) -> MemoryGroup | None:
    """The group that leaves this process the least memory; None where no group has a limit."""
    found: list[MemoryGroup] = []
    for version, folder in _groups(root, "memory"):
        limit_file, used_file, cache_line = (
            ("memory.max", "memory.current", "inactive_file")
            if version == 2
            else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        )
        limit, used = _text(folder / limit_file), _text(folder / used_file)
        if limit.isdigit() and int(limit) < UNLIMITED:
            taken = int(used) if used.isdigit() else 0
            found.append(MemoryGroup(int(limit), max(0, taken - _stat(folder / "memory.stat", cache_line))))
    return min(found, key=lambda group: group.limit - group.used, default=None)


def _groups(root: Path, controller: str) -> Iterator[tuple[int, Path]]:
    """(interface version, folder) of every group of this process that may limit `controller`, innermost first."""
    mount = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            version, top = 2, (mount / "unified" if (mount / "unified").is_dir() else mount)
        elif controller in controllers.split(","):
            version, top = 1, next((m for m in (mount / controller, mount / controllers) if m.is_dir()), mount)
        else:
            continue
        # Inside a container the path may be the host's and absent here; then only the groups that exist are seen,
        # of which the mount's own top is this container's.
        inner = top.joinpath(*(part for part in path.split("/") if part not in ("", "..")))
        for folder in (inner, *inner.parents):
            if folder.is_dir():
                yield version, folder
            if folder == top:
                break


def _stat(path: Path, key: str) -> int:
    for line in _text(path).splitlines():
        name, _, value = line.partition(" ")
        if name == key and value.isdigit():
            return int(value)
    return 0


def _text(path: Path) -> str:
    """A small kernel file's text; empty where it is absent or may not be read, as limits then can't be known."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
