"""Real runs in real processes, killed, stopped, damaged and starved of disk: what comes out is what would have."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bedplate.ledger import open_artefact


def assert_same(runner, undisturbed):
    assert runner.curve() == undisturbed.curve()
    assert runner.weights() == undisturbed.weights()
    # Whatever else differs (times, checkpoints' hashes) is volatile: the artefact is the same.
    assert open_artefact(runner.out).digest == open_artefact(undisturbed.out).digest


def steps_logged(runner, folder):
    return [row["step"] for row in runner.metrics(folder)]


def test_a_run_killed_at_three_random_moments_ends_bit_identical(make_runner, undisturbed):
    runner = make_runner()
    # Other moments each time; the seed stands in the failure's message.
    seed = random.SystemRandom().randrange(1 << 32)
    choose = random.Random(seed)
    for reached in sorted(choose.sample(range(7, 56), 3)):
        process = runner.start()
        runner.wait_for(process, reached)
        try:
            process.wait(choose.random() * 0.1)  # anywhere between two checkpoints, or in the middle of one
        except subprocess.TimeoutExpired:
            process.kill()
        code, said = runner.finish(process)
        if code == 0:  # it was faster than the kill
            break
        assert code == -signal.SIGKILL, (seed, said)
        assert not runner.out.exists()
    else:
        assert "going on from step" in runner.complete(), seed
    assert_same(runner, undisturbed)
    logged = steps_logged(runner, runner.out)
    assert len(logged) == len(set(logged)), seed


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_keeps_the_last_finished_step(make_runner, undisturbed, number, code):
    runner = make_runner()
    process = runner.start()
    runner.wait_for(process, 14)
    process.send_signal(number)
    ended, said = runner.finish(process)
    assert ended == code, said
    assert f"{number.name}: finishing this step and keeping it" in said
    assert "stopped; what was finished is kept" in said
    assert "Traceback" not in said
    kept = {int(p.name.removeprefix("step-")) for p in (runner.partial / "checkpoints").glob("step-*")}
    assert not list((runner.partial / "checkpoints").glob(".*"))
    # Its own checkpoint, at no multiple of checkpoint_every (or at one, one time in seven), is what is gone on from.
    assert f"going on from step {max(kept)}" in runner.complete()
    assert_same(runner, undisturbed)
