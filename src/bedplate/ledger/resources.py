"""`Meter`: what a stage cost, over all its attempts. Each figure says whether it was measured or estimated."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bedplate.ledger.manifest import Resource

FLUSH_S = 5.0
SAMPLE_S = 0.5

# Green Algorithms (Lannelongue, Grealey, Inouye 2021, Advanced Science 8:2100707): its defaults where the hardware's
# own figures aren't known, 12 W for a busy core and 0.3725 W for a gigabyte of memory.
CORE_W = 12.0
MEMORY_W_PER_GB = 0.3725
JOULES_PER_KWH = 3.6e6

_SUMS = ("wall_s", "cpu_s", "gpu_s", "flops", "energy_kwh")


class Meter:
    """Measures from `start` to `stop`, adding to what earlier attempts at the same work cost.

    Every few seconds `flush` gets the figures so far, so that an attempt that is killed isn't forgotten either.
    """

    def __init__(self, earlier: Mapping[str, Resource] | None = None) -> None:
        self._earlier = dict(earlier or {})
        self._flops: dict[str, float] = {}
        self._began = 0.0
        self._cpu_began = 0.0
        self._peak_is_ours = False
        self._sampled_rss = 0
        self._gpu_s = 0.0
        self._gpu_joules: float | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, flush: Callable[[dict[str, Resource]], None]) -> None:
        """Begin to measure."""
        self._peak_is_ours = _reset_peak_rss()
        self._began, self._cpu_began = time.monotonic(), _cpu_seconds()
        self._thread = threading.Thread(target=self._watch, args=(flush,), name="bedplate-meter", daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, Resource]:
        """End, and return the figures of all attempts together."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        return self.figures()

    def add_flops(self, count: float, method: str) -> None:
        """`count` floating-point operations more. `method` says how they were counted: "6 N D + attention"."""
        self._flops[method] = self._flops.get(method, 0.0) + count

    def figures(self) -> dict[str, Resource]:
        """What all attempts cost up to now."""
        wall = time.monotonic() - self._began
        cpu = _cpu_seconds() - self._cpu_began
        now: dict[str, Resource] = {
            "wall_s": Resource(value=wall, method="measured"),
            "cpu_s": Resource(value=cpu, method="measured", note="this process and those it waited for"),
        }
        rss = self._peak_rss()
        now["peak_rss_bytes"] = rss
        if self._flops:
            note = "; ".join(sorted(self._flops))
            now["flops"] = Resource(value=sum(self._flops.values()), method="estimated", note=note)
        if (cuda := _cuda()) is not None:
            peak = sum(cuda.max_memory_allocated(device) for device in range(cuda.device_count()))
            now["gpu_s"] = Resource(
                value=self._gpu_s, method="estimated", note="time for which the stage held the accelerator, per device"
            )
            now["peak_gpu_bytes"] = Resource(value=peak, method="measured", note="allocated by torch")
        now["energy_kwh"] = self._energy(wall, cpu, rss.value)
        return _together(self._earlier, now)

    def _watch(self, flush: Callable[[dict[str, Resource]], None]) -> None:
        flushed = last = time.monotonic()
        while not self._stop.wait(SAMPLE_S):
            now = time.monotonic()
            self._sampled_rss = max(self._sampled_rss, _status_bytes("VmRSS"))
            if (cuda := _cuda()) is not None:
                used = [device for device in range(cuda.device_count()) if cuda.memory_reserved(device)]
                self._gpu_s += (now - last) * len(used)
                self._sample_power(cuda, used, now - last)
            last = now
            if now - flushed >= FLUSH_S:
                flushed = now
                flush(self.figures())

    def _sample_power(self, cuda: Any, devices: list[int], seconds: float) -> None:
        try:
            watts = sum(cuda.power_draw(device) for device in devices) / 1000
        except Exception:  # the driver's library is optional and fails in its own ways; then power is unknown
            return
        self._gpu_joules = (self._gpu_joules or 0.0) + watts * seconds

    def _peak_rss(self) -> Resource:
        if self._peak_is_ours:
            return Resource(value=_status_bytes("VmHWM"), method="measured", note="this process")
        peak = max(self._sampled_rss, _status_bytes("VmRSS"))
        if peak:
            return Resource(value=peak, method="estimated", note=f"greatest of a sample every {SAMPLE_S} s")
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        return Resource(value=usage, method="estimated", note="peak of the whole process, earlier stages included")

    def _energy(self, wall: float, cpu: float, rss: float) -> Resource:
        joules = cpu * CORE_W + wall * rss / 1e9 * MEMORY_W_PER_GB
        note = f"{CORE_W:g} W a busy core and {MEMORY_W_PER_GB} W/GB (Green Algorithms 2021)"
        if self._gpu_joules is not None:
            joules, note = joules + self._gpu_joules, f"{note}; accelerators as their driver reports"
        elif self._gpu_s:
            note += "; WITHOUT the accelerators, whose power can't be read here (pip install nvidia-ml-py)"
        return Resource(value=joules / JOULES_PER_KWH, method="estimated", note=note)


def _together(earlier: Mapping[str, Resource], now: Mapping[str, Resource]) -> dict[str, Resource]:
    """Sums of what adds up over attempts, maxima of peaks. Estimated if any part was."""
    result = {**earlier, **now}
    for name in earlier.keys() & now.keys():
        old, new = earlier[name], now[name]
        notes = dict.fromkeys(note for part in (old.note, new.note) if part for note in part.split("; "))
        result[name] = Resource(
            value=old.value + new.value if name in _SUMS else max(old.value, new.value),
            method=old.method if old.method == new.method else "estimated",
            note="; ".join(notes) or None,
        )
    return result


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _reset_peak_rss() -> bool:
    """Have the kernel forget the peak that earlier stages of this process left. False where it can't (not Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return _status_bytes("VmHWM") > 0


def _status_bytes(field: str) -> int:
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found.group(1)) * 1024 if found else 0


def _cuda() -> Any:
    """torch.cuda if the stage has brought an accelerator to life, else None."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)  # torch may be half imported while the watching thread looks
    is_initialized = getattr(cuda, "is_initialized", None)
    return cuda if is_initialized is not None and is_initialized() else None
