"""LoRA is trained alike in one process and in two, whichever way they share the work: the parameter table is right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import lora_ranks
import pytest
from safetensors.torch import load_file
from torch import Tensor


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return lora_ranks.train(1, tmp_path_factory.mktemp("alone"))


def _assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        # fp32 sums in another order, over three steps of AdamW.
        assert (found[name] - value).norm() <= 1e-4 * value.norm(), name


def test_in_parts_of_a_batch(alone: dict[str, Tensor], tmp_path: Path) -> None:
    assert alone["loss"][-1] < alone["loss"][0]
    _assert_close(lora_ranks.train(1, tmp_path, micro_batch=2), alone)


@pytest.mark.parametrize(
    "tensor_ranks", [pytest.param(1, id="data", marks=pytest.mark.slow), pytest.param(2, id="tensor")]
)
def test_in_two_processes(alone: dict[str, Tensor], tmp_path: Path, tensor_ranks: int) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, lora_ranks.__file__, str(tensor_ranks), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    _assert_close(load_file(tmp_path / "found.safetensors"), alone)
