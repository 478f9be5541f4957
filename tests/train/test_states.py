"""States: set by the objective after each step, never optimised, and kept with the model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import state_case
import torch
from safetensors.torch import load_file
from state_case import trainer
from training_case import UnevenRows


def kept(steps):
    return sum(int(UnevenRows().rows(16 * step, 16)["keep"].sum()) for step in range(steps))


def test_the_objective_alone_sets_a_state(tmp_path):
    made = trainer(tmp_path, micro_batch=4)
    assert "counter.seen" not in made.parameters
    made.train()
    assert made.whole_model()["counter.seen"].tolist() == [kept(6), 6]
    assert not any(name.startswith("counter") for name in made.whole_optimiser())


def test_what_the_objective_reports_stands_in_the_metrics_once(tmp_path):
    trainer(tmp_path).train()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["steps_counted"] for line in lines] == [2, 2, 2]


def test_a_state_goes_on_from_a_checkpoint(tmp_path):
    trainer(tmp_path, checkpoint_every=4).train(until=4)
    assert load_file(tmp_path / "checkpoints/step-4/model.safetensors")["counter.seen"].tolist() == [kept(4), 4]
    made = trainer(tmp_path, checkpoint_every=4)
    made.train()
    whole = trainer(tmp_path / "whole")
    whole.train()
    for name, value in whole.whole_model().items():
        assert torch.equal(made.whole_model()[name], value), name


def test_two_ranks_keep_one_state(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(Path(state_case.__file__)), str(tmp_path)],
        capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-8000:]
    whole = load_file(tmp_path / "whole.safetensors")
    assert whole["counter.seen"].tolist() == [kept(6), 6]
    alone = trainer(tmp_path / "alone")
    alone.train()
    for name, value in alone.whole_model().items():
        torch.testing.assert_close(whole[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("asks", [True, False])
def test_a_state_is_never_trained_whoever_asks(tmp_path, asks):
    made = trainer(tmp_path)
    assert made.net.counter.seen.requires_grad is False
    for p in made.net.parameters():
        p.requires_grad_(asks)
    assert "counter.seen" not in made.parameters
