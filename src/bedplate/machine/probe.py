"""What this machine is, read from the operating system: processor, memory, accelerators, compiler. Nothing is measured.

Nothing here imports torch before it must: `processor` and `memory` are cheap enough for a plan or a ledger.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bedplate.machine.cgroup import ROOT, cpu_limit, memory_limit

NOTABLE_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "sve",
    "bf16",
    "i8mm",
)
"""The instruction sets that decide how fast a matrix product can be (x86 names, then Arm's)."""


@dataclass(frozen=True)
class Processor:
    """The CPU and the share of it that this process may use."""

    name: str
    architecture: str
    flags: tuple[str, ...]
    """Those of `NOTABLE_FLAGS` that it has; empty where the system doesn't tell."""
    machine_cores: int
    """Logical cores of the whole machine."""
    allowed_cores: int
    """Logical cores that this process may run on (its affinity)."""
    physical_cores: int
    """Physical cores among the allowed ones: two hyper-threads of a core count once."""
    quota: float | None
    """Cores' worth of CPU time that its control groups allow; None: all."""

    @property
    def usable_cores(self) -> int:
        """Cores worth one busy thread each: hyper-threads and a fraction of a quota only slow matrix products down."""
        return max(1, self.physical_cores if self.quota is None else min(self.physical_cores, int(self.quota)))


@dataclass(frozen=True)
class Memory:
    """Main memory in bytes, control groups taken into account. None: the system doesn't tell."""

    total: int | None
    available: int | None
    limited_by: str
    """"machine" or "control group"."""


@dataclass(frozen=True)
class Accelerator:
    """One GPU or comparable device that torch can use. `memory` in bytes; `capability` as CUDA names it ("9.0")."""

    kind: str
    index: int
    name: str
    memory: int | None
    capability: str | None


@dataclass(frozen=True)
class Compiler:
    """The C++ compiler that `torch.compile` would call on a CPU, and whether it can build what Inductor asks of it."""

    command: str
    version: str | None
    works: bool
    problem: str | None


def processor(root: Path = ROOT) -> Processor:
    """The CPU as this process sees it. `root` stands for `/` (tests lay out their own)."""
    machine_cores = os.cpu_count() or 1
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(machine_cores))
    name, flags = _cpu_info(root)
    return Processor(
        name=name,
        architecture=platform.machine(),
        flags=tuple(flag for flag in NOTABLE_FLAGS if flag in flags),
        machine_cores=machine_cores,
        allowed_cores=len(allowed),
        physical_cores=_physical_cores(root, allowed),
        quota=cpu_limit(root),
    )


def memory(root: Path = ROOT) -> Memory:
    """Main memory as this process may use it, in bytes."""
    total, available = _machine_memory(root)
    group = memory_limit(root)
    if group is None or (total is not None and group.limit >= total):
        return Memory(total, available, "machine")
    left = max(0, group.limit - group.used)
    return Memory(group.limit, left if available is None else min(available, left), "control group")


def accelerators() -> list[Accelerator]:
    """The devices that this torch can use; empty on a plain CPU machine. Imports torch."""
    import torch

    found = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            p = torch.cuda.get_device_properties(index)
            found.append(Accelerator("cuda", index, p.name, p.total_memory, f"{p.major}.{p.minor}"))
    if torch.backends.mps.is_available():
        found.append(Accelerator("mps", 0, "Apple GPU", None, None))
    return found


def python_headers() -> bool:
    """Whether Python.h is installed, which Inductor's kernels include."""
    return any(
        (Path(folder) / "Python.h").is_file()
        for folder in {sysconfig.get_path("include"), sysconfig.get_path("platinclude")}
        if folder
    )


def compiler() -> Compiler:
    """The C++ compiler, tried on a small OpenMP extension as Inductor builds them (about half a second).

    Inductor takes `CXX`, else g++ (clang++ on macOS, cl on Windows).
    """
    default = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    command = os.environ.get("CXX") or default
    if shutil.which(command) is None:
        return Compiler(command, None, False, f"no command {command!r}")
    if sys.platform == "win32":  # cl has another command line; finding it on PATH means its environment is set up
        return Compiler(command, None, True, None)
    version = _output([command, "--version"]).partition("\n")[0] or None
    if not python_headers():
        return Compiler(command, version, False, "Python.h is missing")
    problem = _try_to_build(command)
    return Compiler(command, version, problem is None, problem)


def _try_to_build(command: str) -> str | None:
    """What stops the compiler from building a small extension, or None."""
    apple = (
        sys.platform == "darwin"
    )  # its clang takes OpenMP from torch's own copy, which only Inductor knows how to find
    source_text = "#include <Python.h>\n" + ("" if apple else "#include <omp.h>\n")
    source_text += f'extern "C" int probe() {{ return {"0" if apple else "omp_get_max_threads()"}; }}\n'
    with tempfile.TemporaryDirectory(prefix="bedplate-compiler-") as folder:
        source, target = Path(folder) / "probe.cpp", Path(folder) / "probe.so"
        source.write_text(source_text)
        flags = ["-shared", "-fPIC", f"-I{sysconfig.get_path('include')}"]
        flags += ["-undefined", "dynamic_lookup"] if apple else ["-fopenmp"]
        try:
            built = subprocess.run(
                [command, *flags, str(source), "-o", str(target)],
                capture_output=True, text=True, errors="replace", timeout=60, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)[:200]
    if built.returncode == 0:
        return None
    lines = [line for line in built.stderr.splitlines() if "error" in line] or built.stderr.splitlines()
    return (lines or ["it fails without a word"])[0].strip()[:200]


def _cpu_info(root: Path) -> tuple[str, frozenset[str]]:
    """Model name and flags; /proc on Linux, sysctl on macOS, what Python knows elsewhere."""
    if sys.platform == "darwin":
        name = _output(["sysctl", "-n", "machdep.cpu.brand_string"])
        features = _output(["sysctl", "-n", "machdep.cpu.leaf7_features"]).lower().split()
        return name or platform.processor() or "unknown", frozenset(features)
    fields: dict[str, str] = {}
    try:
        for line in (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, separator, value = line.partition(":")
            if separator:
                fields.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    name = fields.get("model name") or fields.get("Model") or platform.processor() or "unknown"
    return name, frozenset((fields.get("flags") or fields.get("Features") or "").split())


def _physical_cores(root: Path, allowed: set[int]) -> int:
    """Distinct physical cores among the `allowed` logical ones; all of them where the topology isn't told."""
    cores: set[str] = set()
    for cpu in allowed:
        path = root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        try:
            cores.add(path.read_text().strip())
        except OSError:
            cores.add(f"only {cpu}")
    return max(1, len(cores))


def _machine_memory(root: Path) -> tuple[int | None, int | None]:
    """(total, available) bytes of the whole machine."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None
        return None, None
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if len(line.split()) >= 2}
    total, available = kib.get("MemTotal"), kib.get("MemAvailable")
    return (None if total is None else total * 1024), (None if available is None else available * 1024)


def _output(command: list[str]) -> str:
    """What a small command prints; empty where it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
