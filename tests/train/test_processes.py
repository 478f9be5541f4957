"""`torchrun -m bedplate pretrain`: the same run from several processes, its errors, its end when one of them dies."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import yaml
from runs import MODEL
from safetensors.torch import load_file

from bedplate.ledger import open_artefact


def assert_close(runner, undisturbed):
    """The same steps as in one process, up to the order of fp32 sums: 1e-5, as single steps are tested, over 240 steps
    that amplify it."""
    for ours, theirs in zip(runner.curve(), undisturbed.curve(), strict=True):
        assert ours[0] == theirs[0]
        assert ours[1] == pytest.approx(theirs[1], rel=2e-4)
    validation, expected = (r.metrics()[-1]["validation"] for r in (runner, undisturbed))
    assert validation["loss"] == pytest.approx(expected["loss"], rel=2e-4)
    assert validation["tokens"] == expected["tokens"]
    ours, theirs = (load_file(r.out / "model" / "model.safetensors") for r in (runner, undisturbed))
    assert ours.keys() == theirs.keys()


@pytest.mark.parametrize(
    "options", [{}, pytest.param({"tensor_parallel": 2}, marks=pytest.mark.slow)], ids=["data", "tensor"]
)
def test_two_processes_make_the_same_run(make_runner, undisturbed, options):
    runner = make_runner(**options)
    said = runner.complete(processes=2)
    assert_close(runner, undisturbed)
    # One voice, one manifest.
    assert said.count("M parameters, ") == 1
    assert said.count("made ") == 1
    made = open_artefact(runner.out)
    made.verify()
    placement = made.measures["placement"]
    assert (placement["processes"], placement["tensor_parallel"]) == (2, options.get("tensor_parallel", 1))
    assert made.key == open_artefact(undisturbed.out).key


def test_killed_with_two_processes_and_ended_with_one(make_runner, undisturbed):
    runner = make_runner()
    process = runner.start(processes=2)
    runner.wait_for(process, 50)
    os.killpg(process.pid, signal.SIGKILL)
    for worker in runner.workers():
        worker.kill()
    runner.finish(process)
    assert "going on from step" in runner.complete()
    assert_close(runner, undisturbed)


@pytest.mark.slow
def test_a_process_that_dies_ends_the_others_and_loses_no_step(make_runner, undisturbed):
    runner = make_runner()
    process = runner.start(processes=2)
    runner.wait_for(process, 50)
    follower = next(w for w in runner.workers() if w.environ()["RANK"] == "1")
    follower.kill()
    began = time.monotonic()
    code, said = runner.finish(process)
    assert code != 0
    assert "rank 0: another process of this run has ended" in said
    assert "our fault" not in said
    assert time.monotonic() - began < 30
    assert not runner.workers()
    assert "going on from step" in runner.complete(processes=2)
    assert_close(runner, undisturbed)


@pytest.mark.slow
def test_a_signal_to_the_launcher_keeps_a_step_of_all(make_runner, undisturbed):
    runner = make_runner(log_every=1)
    process = runner.start(processes=2)
    runner.wait_for(process, 50)
    process.terminate()
    code, said = runner.finish(process)
    assert code != 0
    assert said.count("SIGTERM: finishing this step and keeping it") == 1
    assert "another process of this run has ended" not in said
    assert not runner.workers()
    runner.options["log_every"] = 4
    assert "going on from step" in runner.complete(processes=2)
    assert [row["step"] for row in runner.metrics()][-1] == 240


@pytest.mark.parametrize(
    ("processes", "options", "problem"),
    [
        (2, {"batch": 5}, r"batch 5 can't be shared evenly by 2 data ranks"),
        (1, {"tensor_parallel": 2}, r"tensor_parallel=2 doesn't divide the 1 processes of this run"),
    ],
)
def test_numbers_that_do_not_divide(make_runner, processes, options, problem):
    runner = make_runner(**options)
    code, said = runner.finish(processes=processes)
    assert code == (2 if processes == 1 else 1)  # torchrun has its own code for a failed process
    assert problem in said
    assert not list(runner.folder.glob("run.partial-*/checkpoints"))
    assert not runner.out.exists()


def test_two_runs_in_one_launch(make_runner, tokens):
    """Each brings the processes together and lets them go again."""
    runner = make_runner()
    short = {**MODEL, "steps": 6, "do": "pretrain", "inputs": {"tokens": str(tokens)}}
    stages = {name: {**short, "seed": seed, "out": name} for seed, name in enumerate(("first", "second"))}
    command = runner.command(processes=2)
    recipe = Path(command[-1])
    recipe.write_text(yaml.safe_dump({"name": "two", "stages": stages}))
    command[command.index("pretrain")] = "run"
    code, said = runner.finish(runner.start_command(command))
    assert code == 0, said
    for name in stages:
        assert open_artefact(runner.folder / name).measures["steps"] == 6
