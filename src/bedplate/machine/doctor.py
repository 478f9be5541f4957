"""`doctor`: what this machine can do, what that allows, and what to mend.

Three steps, each usable alone: `examine` looks and measures, `advise` draws conclusions from what was found (a pure
function), `doctor` does both and shows them.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bedplate.console import Console
from bedplate.console.figures import bytes_text, counted
from bedplate.machine.choose import ComputeDtype, Device, Threads, choose_compute_dtype, choose_device, choose_threads
from bedplate.machine.load import foreign_cpu_share
from bedplate.machine.measure import Bandwidth, Rate, matrix_rates, memory_bandwidth
from bedplate.machine.packages import OLDEST_TORCH, Package, packages, supported_torch
from bedplate.machine.probe import Accelerator, Compiler, Memory, Processor, accelerators, compiler, memory, processor
from bedplate.report.quantities import prefixed_text

TRAINING_BYTES = 16
"""Bytes a parameter in training with AdamW in float32: itself, its gradient and two moments."""
BUSY = 0.1
"""A share of foreign load from which measured speeds are no longer this machine's own."""


@dataclass(frozen=True)
class Examination:
    """What was found. `rates` and `bandwidths` are empty where nothing was measured."""

    system: str
    python: str
    torch: str
    processor: Processor
    memory: Memory
    free_disk: int
    """Bytes free where the command was started."""
    accelerators: Sequence[Accelerator]
    compiler: Compiler
    packages: Sequence[Package]
    device: Device
    threads: Threads
    dtype: ComputeDtype
    rates: Sequence[tuple[str, Rate]]
    """(what the product is like, its rate)."""
    bandwidths: Sequence[Bandwidth]
    foreign_cpu_share: float | None
    """What others took of the machine just before the measurements; None: not known."""


@dataclass(frozen=True)
class Advice:
    """Something that could be better, and how."""

    finding: str
    fix: str


def doctor(console: Console, *, measure: bool = True) -> dict[str, Any]:
    """Examine this machine, show what it can do and what to mend, and return all of it as JSON-able figures."""
    found = examine(measure=measure)
    advice = advise(found)
    console.heading("This machine")
    console.table(rows(found), ["what", "found", "what that allows"])
    if found.rates:
        console.heading(f"Matrix products on {found.device.name} with {found.rates[0][1].threads} threads, GFLOP/s")
        console.table(_rate_rows(found), ["shape", "what", "format", "median", "lowest", "highest"])
    if found.bandwidths:
        console.heading("Memory, GB/s")
        console.table(
            [[b.what, b.threads, f"{b.median:.1f}", f"{b.lowest:.1f}", f"{b.highest:.1f}"] for b in found.bandwidths],
            ["what", "threads", "median", "lowest", "highest"],
        )
    console.heading("To mend" if advice else "Nothing to mend")
    for item in advice:
        console.warn(f"{item.finding}. {item.fix}")
    named = [{"what": what, **asdict(rate)} for what, rate in found.rates]
    return {**asdict(found), "rates": named, "advice": [asdict(item) for item in advice]}


def examine(*, measure: bool = True) -> Examination:
    """Look at this machine and, with `measure`, time products and memory on it (about three seconds)."""
    import torch

    threads = choose_threads()
    device = choose_device()
    before = torch.get_num_threads()
    torch.set_num_threads(threads.count)  # measured as training will run, and put back below
    try:
        share = foreign_cpu_share() if measure else None
        rates = [
            (what, rate)
            for dtype in (torch.float32, torch.bfloat16)
            for what, rate in (matrix_rates(dtype, device.name).items() if measure else ())
        ]
        bandwidths = memory_bandwidth(device.name) if measure else []
    finally:
        torch.set_num_threads(before)
    return Examination(
        system=platform.platform(),
        python=platform.python_version(),
        torch=torch.__version__,
        processor=processor(),
        memory=memory(),
        free_disk=shutil.disk_usage(Path.cwd()).free,
        accelerators=accelerators(),
        compiler=compiler(),
        packages=packages(),
        device=device,
        threads=threads,
        dtype=choose_compute_dtype(device),
        rates=rates,
        bandwidths=bandwidths,
        foreign_cpu_share=share,
    )


def rows(found: Examination) -> list[list[str]]:
    """What was found and what it allows, a line each, for the table."""
    cpu, ram = found.processor, found.memory
    cores = f"{cpu.physical_cores} of {cpu.machine_cores}" + ("" if cpu.quota is None else f", quota {cpu.quota:g}")
    lines = [
        ["system", found.system, f"Python {found.python}"],
        ["processor", cpu.name, ", ".join(cpu.flags) or "no notable instructions known"],
        ["cores", cores, f"{counted(found.threads.count, 'thread')}: {found.threads.why}"],
        ["memory", _memory_text(ram), _memory_allows(ram)],
        ["disk here", f"{bytes_text(found.free_disk)} free", ""],
        ["device", found.device.name, found.device.why],
    ]
    lines += [
        [f"{a.kind}:{a.index}", a.name, "" if a.memory is None else f"{bytes_text(a.memory)}, {_room(a.memory)}"]
        for a in found.accelerators
    ]
    lines.append(["number format", found.dtype.name, _dtype_allows(found)])
    if found.bandwidths:
        best = max(found.bandwidths, key=lambda b: (b.what == "read", b.median))
        lines.append(["memory bandwidth", f"{best.median:.1f} GB/s", _bandwidth_allows(best)])
    working = found.compiler.works
    lines += [
        [
            "compiler",
            found.compiler.version or found.compiler.command,
            "torch.compile works" if working else "training runs eager",
        ],
        ["torch", found.torch, "supported" if supported_torch(found.torch) else "too old"],
    ]
    if found.foreign_cpu_share is not None:
        busy = found.foreign_cpu_share >= BUSY
        what = f"the speeds shown are {'lower than ' if busy else ''}this machine's own"
        lines.append(["other processes", f"{found.foreign_cpu_share:.0%} of the CPU", what])
    lines += _package_rows(found.packages)
    return lines


def advise(found: Examination) -> list[Advice]:
    """What could be better here, the gravest first."""
    advice = []
    if not supported_torch(found.torch):
        oldest = ".".join(str(part) for part in OLDEST_TORCH)
        advice.append(Advice(f"torch {found.torch} is older than {oldest}", f"pip install 'torch>={oldest}'"))
    missing = sorted({p.name for p in found.packages if p.extra is None and p.version is None})
    if missing:
        advice.append(Advice(f"Not installed: {', '.join(missing)}", "pip install bedplate"))
    if not found.compiler.works and found.device.kind == "cpu":
        advice.append(
            Advice(
                f"The C++ compiler can't be used ({found.compiler.problem}), so training runs eager", _compiler_fix()
            )
        )
    if found.device.kind == "cpu" and _has_nvidia():
        advice.append(
            Advice(
                "An NVIDIA GPU is here, but this torch can't use it",
                "Install torch's CUDA build from PyTorch's own index.",
            )
        )
    cpu = found.processor
    if found.threads.count < cpu.usable_cores and "OMP_NUM_THREADS" in found.threads.why:
        advice.append(
            Advice(
                f"OMP_NUM_THREADS leaves {counted(cpu.usable_cores - found.threads.count, 'usable core')} idle",
                "Unset it.",
            )
        )
    if cpu.quota is not None and cpu.quota < 1:
        advice.append(
            Advice(f"The control group allows {cpu.quota:g} of one core", "Give the container at least one core.")
        )
    if found.memory.available is not None and found.memory.available < 2e9:
        advice.append(
            Advice(
                f"Only {bytes_text(found.memory.available)} of memory is left",
                "Close something, or give the container more.",
            )
        )
    if found.free_disk < 2e9:
        advice.append(
            Advice(f"Only {bytes_text(found.free_disk)} is free on this disk", "Make room, or work on another disk.")
        )
    if found.foreign_cpu_share is not None and found.foreign_cpu_share >= BUSY:
        advice.append(
            Advice(
                f"Others use {found.foreign_cpu_share:.0%} of the CPU",
                "Measure again on a quiet machine before comparing.",
            )
        )
    return advice


def _memory_text(ram: Memory) -> str:
    if ram.total is None:
        return "not known"
    free = "" if ram.available is None else f", {bytes_text(ram.available)} available"
    return f"{bytes_text(ram.total)}{free}" + (" (control group)" if ram.limited_by == "control group" else "")


def _memory_allows(ram: Memory) -> str:
    left = ram.available if ram.available is not None else ram.total
    return "" if left is None else _room(left)


def _room(bytes_free: int) -> str:
    parameters = bytes_free / 2 / TRAINING_BYTES
    return f"trains about {prefixed_text(parameters)} parameters (AdamW, half kept for activations)"


def _dtype_allows(found: Examination) -> str:
    fp32, bf16 = (_best(found.rates, name) for name in ("float32", "bfloat16"))
    if not fp32 or not bf16:
        return found.dtype.why
    ratio = bf16 / fp32
    if ratio >= 1:
        return f"bf16 products are {ratio:.1f}x fp32 here; {found.dtype.why}"
    return f"bf16 products are slower than fp32 here ({ratio:.2f}x); {found.dtype.why}"


def _best(rates: Sequence[tuple[str, Rate]], dtype: str) -> float:
    return max((rate.median for _, rate in rates if rate.dtype == dtype), default=0.0)


def _bandwidth_allows(best: Bandwidth) -> str:
    """Generating one token reads every weight once, so bandwidth bounds it."""
    return f"at most {best.median / 2:.0f} tokens/s from a bf16 model of 1 G parameters, for one reader"


def _rate_rows(found: Examination) -> list[list[object]]:
    return [
        ["x".join(map(str, r.shape)), what, r.dtype, f"{r.median:.0f}", f"{r.lowest:.0f}", f"{r.highest:.0f}"]
        for what, r in found.rates
    ]


def _package_rows(found: Sequence[Package]) -> list[list[str]]:
    """One line for what every install needs and one for each extra."""
    lines = []
    for extra in sorted({p.extra for p in found}, key=lambda name: name or ""):
        group = [p for p in found if p.extra == extra]
        there = ", ".join(f"{p.name} {p.version}" for p in group if p.version)
        missing = [p.name for p in group if not p.version]
        if not missing:
            allows = "all there"
        elif extra is None:
            allows = f"missing: {', '.join(missing)}"
        else:
            allows = f"pip install 'bedplate[{extra}]' brings {', '.join(missing)}"
        lines.append([f"extra {extra}" if extra else "packages", there or "none", allows])
    return lines


def _compiler_fix() -> str:
    if sys.platform == "darwin":
        return "xcode-select --install"
    if sys.platform == "win32":
        return "Install the C++ build tools of Visual Studio."
    return "Install g++ and Python's headers (Debian: apt-get install g++ python3-dev), or set CXX."


def _has_nvidia() -> bool:
    return Path("/proc/driver/nvidia/version").exists() and os.environ.get("CUDA_VISIBLE_DEVICES") != ""
