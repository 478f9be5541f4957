"""Real runs in real processes, killed, stopped, damaged and starved of disk: what comes out is what would have."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import MODEL, Runner
from safetensors.torch import load_file

from bedplate.ledger import open_artefact


def assert_same(runner, undisturbed):
    assert runner.curve() == undisturbed.curve()
    assert runner.weights() == undisturbed.weights()
    # Whatever else differs (times, checkpoints' hashes) is volatile: the artefact is the same.
    ours, theirs = open_artefact(runner.out), open_artefact(undisturbed.out)
    assert ours.digest == theirs.digest
    # What it measured is of the whole run and not of the last attempt.
    for name in ("steps", "tokens", "parameters", "flops", "train", "validation"):
        assert ours.measures[name] == theirs.measures[name]
    assert ours.manifest.resources["flops"].value == theirs.measures["flops"]
    seconds = sum(row["time_s"] for row in runner.metrics())
    assert ours.measures["tokens_per_s"] == pytest.approx(ours.measures["tokens"] / seconds, rel=1e-4)
    assert ours.measures["mfu"] > 0


def steps_logged(runner):
    return [row["step"] for row in runner.metrics()]


def test_a_run_killed_at_three_random_moments_ends_bit_identical(make_runner, undisturbed):
    runner = make_runner()
    # Other moments each time; the seed stands in the failure's message.
    seed = random.SystemRandom().randrange(1 << 32)
    choose = random.Random(seed)
    for reached in sorted(choose.sample(range(9, 200), 3)):
        process = runner.start()
        runner.wait_for(process, reached)
        # Anywhere between two checkpoints, or in the middle of writing one.
        time.sleep(choose.random() * 0.05)
        process.kill()
        code, said = runner.finish(process)
        assert code == -signal.SIGKILL, (seed, said)
        assert not runner.out.exists(), seed
    assert "going on from step" in runner.complete(), seed
    assert_same(runner, undisturbed)
    logged = steps_logged(runner)
    assert len(logged) == len(set(logged)), seed


def test_ctrl_c_keeps_the_last_finished_step(make_runner):
    runner = make_runner()
    process = runner.start()
    runner.wait_for(process, 40)
    reached = max(checkpoints(runner))
    process.send_signal(signal.SIGINT)
    code, said = runner.finish(process)
    assert code == 130, said
    assert "SIGINT: finishing this step and keeping it" in said
    assert_stopped(runner, said, reached)


def assert_stopped(runner, said, reached):
    assert "stopped; what was finished is kept" in said
    assert "Traceback" not in said
    assert max(checkpoints(runner)) >= reached
    assert not list((runner.partial / "checkpoints").glob(".*"))


def test_sigterm_keeps_the_last_finished_step(stopped_once, stopped, undisturbed):
    said = stopped_once.said
    assert "SIGTERM: finishing this step and keeping it" in said
    assert_stopped(stopped, said, 36)
    assert f"going on from step {max(checkpoints(stopped))}" in stopped.complete()
    assert_same(stopped, undisturbed)


def test_a_second_signal_stops_at_once(make_runner):
    # One step takes far longer than the test waits, in many short forward passes between which Python sees a signal.
    runner = make_runner(batch=2048, length=512, steps=50, micro_batch=16)
    process = runner.start()
    read_until(process, "matrix rate")
    while not list(runner.folder.glob("run.partial-*/metrics.jsonl")):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.5)  # from there to the first step is an instant
    process.send_signal(signal.SIGINT)
    read_until(process, "finishing this step")
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, said = runner.finish(process)
    assert code == 130, said
    assert time.monotonic() - began < 20


def read_until(process, text):
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"it never said {text!r}")


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory, tokens):
    """A run stopped past its fourth checkpoint."""
    runner = Runner(tmp_path_factory.mktemp("stopped") / "it", tokens)
    process = runner.start()
    runner.wait_for(process, 36)
    process.send_signal(signal.SIGTERM)
    code, runner.said = runner.finish(process)
    assert code == 143, runner.said
    return runner


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """A copy of it to do harm to."""
    shutil.copytree(stopped_once.folder, tmp_path / "copy")
    return Runner(tmp_path / "copy", stopped_once.tokens)


def checkpoints(runner: Any) -> list[int]:
    return sorted(int(p.name.removeprefix("step-")) for p in (runner.partial / "checkpoints").glob("step-*"))


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(stopped, undisturbed):
    before, newest = checkpoints(stopped)
    file = stopped.partial / "checkpoints" / f"step-{newest}" / "optimiser.safetensors"
    os.truncate(file, file.stat().st_size // 2)
    said = stopped.complete()
    assert re.search(rf"warning: \S+/checkpoints/step-{newest}: {file.name} isn't what was written; going back", said)
    assert f"going on from step {before}" in said
    assert_same(stopped, undisturbed)


def test_a_full_disk_loses_nothing(small_disk, stopped_once, undisturbed):
    shutil.copytree(stopped_once.folder, small_disk / "it")
    runner = Runner(small_disk / "it", stopped_once.tokens)
    reached = checkpoints(runner)
    free = os.statvfs(small_disk)
    ballast = small_disk / "ballast"
    # Room for some lines of metrics, and not for a checkpoint.
    ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - (64 << 10)))
    code, said = runner.finish()
    assert code == 2, said
    assert re.search(r"error: \S+/checkpoints: a checkpoint couldn't be written: the disk is full\n", said)
    assert re.search("Make room .* run the same command again", said)
    assert "Traceback" not in said
    assert checkpoints(runner) == reached
    assert not list((runner.partial / "checkpoints").glob(".*"))
    ballast.unlink()
    assert f"going on from step {reached[-1]}" in runner.complete()
    assert_same(runner, undisturbed)


def test_a_disk_without_room_for_a_line_says_so(small_disk, tokens):
    runner = Runner(small_disk / "it", tokens, MODEL | {"log_every": 1, "checkpoint_every": 1000, "steps": 300})
    process = runner.start()
    wait_until(lambda: any(small_disk.glob("it/run.partial-*/metrics.jsonl")), process)
    ballast = small_disk / "ballast"
    fill(ballast)
    code, said = runner.finish(process)
    assert code == 2, said
    assert "the disk is full" in said
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    ballast.unlink()
    assert runner.complete()
    assert steps_logged(runner) == list(range(1, 301))


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def wait_until(ready: Callable[[], bool], process: Any) -> None:
    while not ready():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


def test_a_loss_that_is_no_number_keeps_the_checkpoints_before_it(make_runner):
    runner = make_runner(
        optimiser={"learning_rate": 1e30, "clip": None}, log_every=50, checkpoint_every=1, keep_checkpoints=9
    )
    code, said = runner.finish()
    assert code == 2, said
    step = int(re.search(r"error: the (?:loss|norm of the gradient) is \S+ at step (\d+);", said).group(1))
    assert "Lower optimiser.learning_rate" in said
    # One with every step, although a line is written every 50: none holds what isn't a number.
    assert checkpoints(runner) == list(range(1, step))
    for file in runner.partial.glob("checkpoints/*/*.safetensors"):
        assert all(value.isfinite().all() for value in load_file(file).values())
