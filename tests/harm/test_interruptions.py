"""Ctrl-C, SIGTERM and a second process at every stage: the designed exit code, nothing half-written, nothing lost."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time

import pytest

STOPPED = "stopped; what was finished is kept; run the same command to go on"
# Stages that can't go on with half of their work leave none.
RESUMING = ("tokens", "model")


def digests(bench, stages):
    manifests = {name: bench / "runs/tiny" / name / "bedplate.json" for name in stages}
    return {name: json.loads(path.read_text())["digest"] for name, path in manifests.items() if path.is_file()}


def stop_at(process: subprocess.Popen[str], heading: str, number: int) -> tuple[int, str]:
    """Send the signal once the heading of a stage is seen; the exit code and all that was said."""
    told = []
    for line in process.stderr:
        told.append(line)
        if line.startswith(heading):
            process.send_signal(number)
    process.wait(timeout=60)
    return process.returncode, "".join(told)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", ["corpus", "tokenizer", "tokens", "model", "evaluation", "release"])
def test_a_signal_at_each_stage(bench, perform, start, stages, litter, stage, number):
    whole = digests(bench, stages)
    for later in stages[stages.index(stage) :]:
        shutil.rmtree(bench / "runs/tiny" / later)
    code, text = stop_at(start(bench, "run", "tiny.yaml"), f"{stage} (", number)
    # Python dies of SIGINT itself where that came inside an import; a shell says 130 of both.
    assert code in (128 + number, -number), text
    assert STOPPED in text
    assert "Traceback" not in text
    made = digests(bench, stages)
    assert made.items() <= whole.items()
    assert all(path.split(".partial-")[0].rpartition("/")[2] in RESUMING for path in litter(bench)), "half-made"
    (again,) = perform(bench, [["run", "tiny.yaml"]])
    again.is_done()
    assert digests(bench, ["corpus", "tokenizer", "tokens", "model"]) == {
        name: digest for name, digest in whole.items() if name not in ("evaluation", "release")
    }
    assert not litter(bench)


def test_ctrl_c_before_anything_has_begun(bench, start):
    for delay in (0.03, 0.08, 0.15):
        process = start(bench, "run", "tiny.yaml", "corpus.out=elsewhere")
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=60)
        # Python itself may still be starting: then it is Python that complains.
        assert process.returncode in (130, -signal.SIGINT), text
        assert "this is our fault" not in text
        assert not (bench / "elsewhere").exists()


DEAF = """
import signal, time
from bedplate import Config, Stage


class Falling:
    def __del__(self):
        signal.raise_signal({number})  # what its handler raises, Python drops here


def work(config, inputs, work):
    Falling()
    time.sleep(60)


DEAF = Stage("deaf", 1, "toy", Config, {{}}, "deaf:work")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_python_drops_comes_again(tmp_path, start, number):
    (tmp_path / "deaf.py").write_text(DEAF.format(number=int(number)))
    (tmp_path / "deaf.yaml").write_text('stages: {x: {do: "deaf:DEAF"}}')
    process = start(tmp_path, "run", "deaf.yaml")
    _, text = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert STOPPED in text
    assert "Exception ignored" not in text


def test_two_runs_on_one_folder(bench, perform, start):
    line = [
        "pretrain",
        "tiny.yaml",
        "model.steps=100000",
        'model.compile="no"',
        "model.checkpoint_every=5",
        "model.out=long",
    ]
    process = start(bench, *line)
    try:
        while not list(bench.glob("long.partial-*/checkpoints/step-*")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        (second,) = perform(bench, [line])
        second.is_mistake(f"long: another process is at work on it (process {process.pid} on ", "Wait until it has")
    finally:
        process.send_signal(signal.SIGTERM)
        _, text = process.communicate(timeout=60)
    assert process.returncode == 143, text
    assert STOPPED in text
    # The lock of a process that is gone is nobody's, and the step that it was at is kept.
    process = start(bench, *line)
    told = []
    for said in process.stderr:
        told.append(said)
        if "parameters" in said:
            process.kill()
    process.wait()
    assert any("going on with the unfinished work in long.partial-" in said for said in told), told
