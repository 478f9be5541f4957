"""A few steps of training, described by a small record, run in one process or by several.

The tests run cases in their own process; `torchrun training_case.py CASES.json OUT` runs a list of them in all of its
processes, and rank 0 writes what came out. Rows are packed and masked unevenly, so that a wrong normalisation shows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch._dynamo.utils import counters

from bedplate.console import Console
from bedplate.errors import RecipeError
from bedplate.families import llama
from bedplate.families.llama_config import LlamaConfig
from bedplate.nn.initialise import initialise
from bedplate.objectives.next_token import NextToken
from bedplate.train import optimiser as optimisers
from bedplate.train.checkpoint import Checkpoints
from bedplate.train.config import TrainConfig
from bedplate.train.loop import Trainer, TrainingData
from bedplate.train.parallel import Parallel
from bedplate.train.placement import Placement
from bedplate.train.schedule import share

VOCABULARY, LENGTH, BATCH = 61, 24, 16
SHAPE = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": VOCABULARY,
}  # fmt: skip
LLAMA: dict[str, Any] = {}
TIED = {"tie_word_embeddings": True}
BIASES = {"qkv_bias": True, "out_bias": True, "mlp_bias": True}
QWEN3 = {"model_type": "qwen3", "qk_norm": True, "head_dim": 12}


@dataclass(frozen=True)
class Case:
    """What is trained and how. begin, end: a checkpoint folder's step that it goes on from, or leaves. frozen: names of
    parameters that begin so aren't trained."""

    architecture: dict[str, Any] = field(default_factory=dict)
    steps: int = 4
    batch: int = BATCH
    micro_batch: int | None = None
    tensor_parallel: int = 1
    compiled: bool = False
    dtype: str = "float32"
    optimiser: dict[str, Any] = field(default_factory=dict)
    begin: str | None = None
    end: str | None = None
    frozen: str | None = None

    @property
    def config(self) -> TrainConfig:
        return TrainConfig(
            steps=10,
            batch=self.batch,
            length=LENGTH,
            micro_batch=self.micro_batch,
            tensor_parallel=self.tensor_parallel,
            optimiser={"clip": 1.0, **self.optimiser},
            schedule={"warmup": 2},
        )


class UnevenRows:
    """Rows of random documents. Row r keeps a share of its targets that depends on r, from none of them to all."""

    def __init__(self, kept: float | None = None) -> None:
        self.kept = kept

    def rows(self, first: int, count: int) -> dict[str, np.ndarray]:
        each = [self._row(first + i) for i in range(count)]
        return {name: np.stack([row[name] for row in each]) for name in each[0]}

    def _row(self, r: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(r)
        # A learnable chain: the next token is mostly a function of this one.
        tokens = np.empty(LENGTH + 1, dtype=np.int64)
        tokens[0] = rng.integers(VOCABULARY)
        for i in range(LENGTH):
            tokens[i + 1] = (5 * tokens[i] + 1 + rng.integers(3)) % VOCABULARY
        starts = rng.random(LENGTH) < 0.15
        starts[0] = True
        column = np.arange(LENGTH)
        kept = (r % 5) / 4 if self.kept is None else self.kept
        return {
            "tokens": tokens[:-1],
            "targets": tokens[1:],
            "segments": np.cumsum(starts) - 1,
            "positions": column - np.maximum.accumulate(np.where(starts, column, 0)),
            "keep": rng.random(LENGTH) < kept,
        }


def trainer(case: Case, folder: Path, rows: Any = None, validation: Any = None) -> Trainer:
    """A trainer of the case, in all the processes that are there."""
    net = llama.build(LlamaConfig(**(SHAPE | case.architecture)))
    initialise(net, 1)
    # Far from the flat start, so that every gradient, of biases and gains too, stands well above rounding.
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += torch.randn(parameter.shape, generator=generator) * 0.2
    if case.frozen is not None:
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(not name.startswith(case.frozen))
    dtype = getattr(torch, case.dtype)
    placement = Placement("cpu", dtype, torch.get_num_threads(), case.compiled, 1e9, {})
    parallel = Parallel.start("cpu", case.tensor_parallel)
    data = TrainingData(rows or UnevenRows(), validation, 0.25)
    objective = NextToken(compiled=case.compiled)
    return Trainer(net, objective, data, case.config, placement, parallel, folder, Console.quiet())


def run(case: Case, folder: Path) -> dict[str, Tensor]:
    """Train it. Returns loss and norm of each step, the last step's whole gradients, parameters and moments, and how
    many graphs were compiled."""
    torch.compiler.reset()
    counters.clear()
    made = trainer(case, folder)
    assert all(p.dtype == torch.float32 for p in made.parameters.values())
    first = 0
    if case.begin:
        saved = Checkpoints(Path(case.begin), keep=1, warn=print).newest()
        assert saved is not None
        made.load_state(saved.model(), saved.optimiser())
        first = saved.step
    losses, norms = [], []
    for step in range(first, first + case.steps):
        optimisers.set_learning_rate(made.optimisers, share(case.config.schedule, step, case.config.steps))
        done = made.update(made.loader.batch(step))
        losses.append(done.loss)
        norms.append(done.norm)
    whole = made.whole_model()
    moments = made.whole_optimiser()
    gradients = {
        name: made.parallel.gather(p.grad, p, made.table[name].shard).clone()
        for name, p in made.parameters.items()
        if p.grad is not None
    }
    if case.end and made.parallel.leads:
        keeper = Checkpoints(Path(case.end), keep=1, warn=print)
        keeper.save(first + case.steps, whole, moments, {})
        keeper.wait()
    return {
        "loss": torch.stack(losses),
        "norm": torch.stack(norms),
        "graphs": torch.tensor(counters["stats"]["unique_graphs"]),
        **{f"gradient of {name}": value for name, value in gradients.items()},
        **{f"parameter {name}": value for name, value in whole.items()},
        **{f"moment {name}": value for name, value in moments.items()},
    }


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    """Every tensor within `tolerance` of the other, relative to its own norm: fp32 sums taken in another order."""
    assert found.keys() == expected.keys()
    for name in expected.keys() - {"graphs"}:
        error, size = (found[name].float() - expected[name].float()).norm(), expected[name].float().norm()
        assert error <= tolerance * size, f"{name}: off by {float(error / size):.1e}"


def launch(processes: int, cases: Iterable[Case], folder: Path) -> list[dict[str, Tensor]]:
    """Run the cases one after another in `processes` of torchrun's. One that is refused gives its `error` as bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = list(cases)
    (folder / "cases.json").write_text(json.dumps([asdict(case) for case in cases]))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [*command, __file__, str(folder / "cases.json"), str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-8000:]
    return [load_file(folder / f"{i}.safetensors") for i in range(len(cases))]


def main(cases: Path, out: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for i, raw in enumerate(json.loads(cases.read_text())):
        try:
            result = run(Case(**raw), out)
        except RecipeError as error:
            result = {"error": torch.tensor(list(str(error).encode()), dtype=torch.uint8)}
        if dist.get_rank() == 0:
            save_file({name: value.contiguous() for name, value in result.items()}, out / f"{i}.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
