"""How fast this machine multiplies matrices and reads memory, measured in a moment with the torch that will work.

These are the two ceilings of training: a step is bound by one or the other, and the model FLOP utilisation (MFU) is the
share of the first that it reaches. Products are timed as a Linear computes them (x @ W.T, both row-major).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bedplate.machine.probe import memory

Shape = tuple[int, int, int]

SHAPES: tuple[tuple[str, Shape], ...] = (
    ("small square", (512, 512, 512)),
    ("large square", (2048, 2048, 2048)),
    ("rows by a small model's feed-forward", (4096, 256, 704)),
)
"""(M, K, N) of the products that `matrix_rates` times: [M, K] @ [K, N]."""


@dataclass(frozen=True)
class Rate:
    """Speed of a matrix product in GFLOP/s (a multiply-add counts as two), over `repeats` timings."""

    dtype: str
    device: str
    threads: int
    shape: Shape
    median: float
    lowest: float
    highest: float
    repeats: int

    def share(self, flops_per_second: float) -> float:
        """MFU: the share of this rate that `flops_per_second` makes up.

        Against the highest timing, for anything else that runs here lowers the others and would flatter the share.
        """
        return flops_per_second / (self.highest * 1e9)


@dataclass(frozen=True)
class Bandwidth:
    """Memory traffic in GB/s (1e9 bytes). A copy counts what it reads and what it writes."""

    what: Literal["read", "copy"]
    device: str
    threads: int
    median: float
    lowest: float
    highest: float
    repeats: int


def measured_matrix_rate(dtype: torch.dtype, device: str = "cpu", seconds: float = 0.4) -> Rate:
    """The rate to measure MFU against: a large square product with the threads now set, in about `seconds`."""
    size = 1024 if device == "cpu" else 4096
    trial = _time_product(dtype, (size, size, size), device, 0.0)
    # Eight times the work: taken where six timings of it fit, since only large products reach the full rate everywhere.
    if 6 * 8 * _seconds(trial) <= seconds:
        size *= 2
    return _time_product(dtype, (size, size, size), device, seconds)


def matrix_rates(
    dtype: torch.dtype, device: str = "cpu", seconds: float = 0.6, shapes: tuple[tuple[str, Shape], ...] = SHAPES
) -> dict[str, Rate]:
    """The rate of each of `shapes`, by their names; `seconds` in all, a slow machine's least repeats aside."""
    return {name: _time_product(dtype, shape, device, seconds / len(shapes)) for name, shape in shapes}


def memory_bandwidth(device: str = "cpu", seconds: float = 0.8, bytes_each: int = 256 << 20) -> list[Bandwidth]:
    """Read (a sum) and copy of a float32 tensor far larger than any cache.

    On a CPU with one thread and with as many as are now set. `bytes_each` shrinks where little memory is left.
    """
    available = memory().available
    if device == "cpu" and available is not None:
        bytes_each = min(bytes_each, max(1 << 20, available // 16))
    source = torch.ones(bytes_each // 4, device=device)
    target = torch.empty_like(source)
    work: list[tuple[Literal["read", "copy"], Callable[[], Tensor], int]] = [
        ("read", source.sum, source.nbytes),
        ("copy", lambda: target.copy_(source), 2 * source.nbytes),
    ]
    found = []
    counts = sorted({1, torch.get_num_threads()}) if device == "cpu" else [torch.get_num_threads()]
    for threads in counts:
        for what, run, moved in work:
            with _threads(threads):
                times = _time(run, device, seconds / (len(counts) * len(work)))
            speeds = [moved / t / 1e9 for t in times]
            found.append(
                Bandwidth(what, device, threads, statistics.median(speeds), min(speeds), max(speeds), len(speeds))
            )
    return found


def _time_product(dtype: torch.dtype, shape: Shape, device: str, seconds: float) -> Rate:
    m, k, n = shape
    generator = torch.Generator(device=device).manual_seed(0)
    # Small normal numbers: zeros or denormals can be faster or slower than what training multiplies.
    rows = torch.randn(m, k, device=device, generator=generator).to(dtype)
    weight = torch.randn(n, k, device=device, generator=generator).to(dtype)
    times = _time(lambda: torch.nn.functional.linear(rows, weight), device, seconds)
    speeds = [2 * m * k * n / t / 1e9 for t in times]
    return Rate(
        dtype=str(dtype).removeprefix("torch."),
        device=device,
        threads=torch.get_num_threads(),
        shape=shape,
        median=statistics.median(speeds),
        lowest=min(speeds),
        highest=max(speeds),
        repeats=len(speeds),
    )


def _time(run: Callable[[], Tensor], device: str, seconds: float) -> list[float]:
    """Wall seconds of each run: three at least, then as many as fit in `seconds`, after one that isn't counted."""
    with torch.inference_mode():
        run()
        _wait(device)
        times: list[float] = []
        end = time.perf_counter() + seconds
        while len(times) < 3 or (time.perf_counter() < end and len(times) < 1000):
            start = time.perf_counter()
            run()
            _wait(device)
            times.append(max(time.perf_counter() - start, 1e-9))
    return times


def _seconds(rate: Rate) -> float:
    m, k, n = rate.shape
    return 2 * m * k * n / (rate.median * 1e9)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """torch's thread count set to `count` for a moment, as it has no per-call argument."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
