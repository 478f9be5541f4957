"""A mixture of experts trains to the same numbers however its batch is cut: losses on its routers and biases too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from experts_case import run
from safetensors.torch import load_file
from training_case import assert_equal


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One process, whole batches."""
    return run(tmp_path_factory.mktemp("whole"))


def test_the_biases_move_and_nothing_is_dropped(whole):
    bias = whole["parameter blocks.1.1.sublayer.router.bias"]
    assert bias.any()
    assert (bias.abs() <= 0.03 + 1e-6).all()  # three steps of 0.01
    most, least, entropy, dropped = whole["figures"].tolist()
    assert most > 1 > least >= 0
    assert 0 < entropy < 1.8
    assert dropped == 0


def test_in_parts(whole, tmp_path):
    assert_equal(run(tmp_path, micro_batch=4), whole)


def test_on_two_ranks(whole, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = Path(__file__).with_name("experts_case.py")
    done = subprocess.run(
        [*command, script, tmp_path], capture_output=True, text=True, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-8000:]
    assert_equal(load_file(tmp_path / "found.safetensors"), whole)


def test_compiled(whole, tmp_path, compiler_works):
    torch.compiler.reset()
    assert_equal(run(tmp_path, compiled=True), whole)
