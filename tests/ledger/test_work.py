"""`Work` and the meter: which outputs are volatile, and how costs add up."""

from __future__ import annotations

import mmap
import subprocess
import time

import pytest

from bedplate.console import Console
from bedplate.ledger.manifest import Resource
from bedplate.ledger.resources import Meter
from bedplate.ledger.work import Work


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("README.md", "README.md", True),
        ("README.md", "model/README.md", False),
        ("*.html", "report.html", True),
        ("*.html", "a/report.html", False),
        ("index/**", "index/a/b.bin", True),
        ("index/**", "index/a.bin", True),
        ("index/**", "indexes/a.bin", False),
        ("**/*.log", "a/b/c.log", True),
        ("**/*.log", "c.log", True),
        ("a/*/c", "a/b/c", True),
        ("a/*/c", "a/b/b/c", False),
    ],
)
def test_volatile_globs(tmp_path, glob, path, matches):
    work = Work(tmp_path, Console.quiet(), Meter(), resumed=False)
    work.volatile("nothing", glob)
    assert work.is_volatile(path) == matches


def test_costs_of_attempts_add_up_and_peaks_do_not():
    meter = Meter(
        {
            "wall_s": Resource(value=100, method="measured"),
            "peak_rss_bytes": Resource(value=1e15, method="measured"),
            "gpu_s": Resource(value=7, method="estimated", note="before"),
        }
    )
    meter.start(lambda figures: None)
    meter.add_flops(10, "a")
    meter.add_flops(20, "b")
    meter.add_flops(5, "a")
    time.sleep(0.05)
    figures = meter.stop()
    assert 100.05 < figures["wall_s"].value < 105
    assert figures["peak_rss_bytes"].value == 1e15
    assert figures["gpu_s"].value == 7
    assert figures["flops"] == Resource(value=35, method="estimated", note="a; b")
    assert figures["energy_kwh"].method == "estimated"


def test_cpu_time_of_finished_children_counts():
    meter = Meter()
    meter.start(lambda figures: None)
    subprocess.run(["python3", "-c", "import time\nwhile time.process_time() < 0.4: pass"], check=True)
    cpu = meter.stop()["cpu_s"]
    assert cpu.value >= 0.4
    assert cpu.method == "measured"


def test_peak_memory_is_the_stages_own():
    """A stage isn't charged for the memory of the one before it in the same process."""
    # Mapped by itself: what an allocator gives out of memory that it holds already doesn't leave the process again.
    block = mmap.mmap(-1, 300 << 20)
    for page in range(0, len(block), mmap.PAGESIZE):
        block[page] = 1
    first = Meter()
    first.start(lambda figures: None)
    high = first.stop()["peak_rss_bytes"].value
    block.close()
    second = Meter()
    second.start(lambda figures: None)
    low = second.stop()["peak_rss_bytes"]
    if low.method == "estimated":
        pytest.skip("this system doesn't reset a process's peak")
    assert low.value < high - (250 << 20)


def test_a_long_attempt_is_flushed(monkeypatch):
    monkeypatch.setattr("bedplate.ledger.resources.FLUSH_S", 0.1)
    monkeypatch.setattr("bedplate.ledger.resources.SAMPLE_S", 0.05)
    seen = []
    meter = Meter()
    meter.start(seen.append)
    time.sleep(0.5)
    meter.stop()
    assert len(seen) >= 2
    assert seen[0]["wall_s"].value < seen[-1]["wall_s"].value
