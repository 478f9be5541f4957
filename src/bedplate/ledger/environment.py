"""Which code made an artefact, and on what machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import bedplate.version as version
from bedplate.ledger.manifest import Code, Environment


def code() -> Code:
    """Bedplate's version and, where it runs from a git checkout of its own, the commit."""
    package = Path(version.__file__).resolve().parent
    root = _git(package, "rev-parse", "--show-toplevel")
    # An installed package may lie inside a repository of the user's, which says nothing about our code.
    if root is None or Path(root) / "src" / "bedplate" != package:
        return Code(version=version.__version__)
    commit = _git(package, "rev-parse", "--verify", "HEAD")
    status = _git(package, "status", "--porcelain", "--untracked-files=normal")
    return Code(version=version.__version__, commit=commit, dirty=None if status is None else bool(status))


def environment() -> Environment:
    """This machine as the stage used it. torch is asked only if the stage has loaded it."""
    return Environment(
        python=platform.python_version(),
        torch=_torch_version(),
        device=_device(),
        processor=_processor(),
        threads=_threads(),
        platform=platform.platform(),
    )


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _torch_version() -> str | None:
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None


def _device() -> str:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return str(torch.cuda.get_device_name())
    return "cpu"


def _threads() -> int:
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else available_cores()


def available_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity
        return os.cpu_count() or 1


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
