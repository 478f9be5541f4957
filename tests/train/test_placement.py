"""Where a run computes: what is asked for, what is chosen, and that the choice is the same the next time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bedplate.machine.probe import Compiler
from bedplate.train import placement
from bedplate.train.config import TrainConfig
from bedplate.train.placement import place


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def chosen(flops=1e12, **options):
    return place(TrainConfig(steps=1, **{"device": "cpu", "threads": 1, "dtype": "float32", **options}), flops)


def test_wishes_are_granted_and_recorded():
    found = chosen(threads=2, dtype="bfloat16", compile="no")
    assert torch.get_num_threads() == found.threads == found.record["threads"] == 2
    assert (found.device, found.dtype, found.compiled) == ("cpu", torch.bfloat16, False)
    assert found.record["compiled_why"] == "compile=no was asked for"
    assert found.flops_per_second == pytest.approx(found.record["matrix_rate_gflops"] * 1e9, rel=0.01)
    assert all(found.record[f"{what}_why"] for what in ("device", "threads", "dtype", "compiled"))


def test_only_a_long_run_is_compiled_on_a_cpu(compiler_works):
    short, long = chosen(1e10), chosen(1e14)
    assert not short.compiled
    assert "doesn't repay compiling" in short.record["compiled_why"]
    assert long.compiled
    assert "repays it" in long.record["compiled_why"]


def test_the_choice_does_not_hang_on_what_the_machine_does_just_now(monkeypatch):
    """Else a run could be compiled before a kill and eager after it, and its last bits would differ."""
    quiet = placement.measured_matrix_rate(torch.float32)
    found = []
    for rate in (quiet, replace(quiet, highest=quiet.highest / 100)):
        monkeypatch.setattr(placement, "measured_matrix_rate", lambda *_, rate=rate: rate)
        found.append([chosen(10.0**exponent).compiled for exponent in range(9, 16)])
    assert found[0] == found[1]


def test_a_short_run_does_without_the_measurement(monkeypatch):
    monkeypatch.setattr(placement, "measured_matrix_rate", lambda *_: pytest.fail("measured"))
    found = place(TrainConfig(steps=1, device="cpu", threads=1, compile="no"), 0.0, measure=False)
    assert found.flops_per_second == 0
    assert not [name for name in found.record if "rate" in name]


def test_without_a_compiler_it_runs_eagerly_and_says_why(monkeypatch):
    monkeypatch.setattr(placement, "compiler", lambda: Compiler("g++", None, False, "g++: not found"))
    found = chosen(compile="yes")
    assert not found.compiled
    assert found.record["compiled_why"] == "nothing to compile with: g++: not found; running eagerly"
