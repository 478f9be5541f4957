"""Three steps of LoRA through the trainer, in one process or by `torchrun lora_ranks.py TENSOR_RANKS OUT`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from bedplate.console import Console
from bedplate.data.packing import Rows
from bedplate.deltas.lora import LoraConfig, add_lora
from bedplate.families import llama
from bedplate.families.llama_config import LlamaConfig
from bedplate.nn.initialise import initialise
from bedplate.objectives.next_token import NextToken
from bedplate.train.config import TrainConfig
from bedplate.train.loop import Trainer, TrainingData
from bedplate.train.parallel import Parallel
from bedplate.train.placement import Placement

VOCABULARY, LENGTH, BATCH = 61, 24, 8


class RandomRows:
    """Rows that keep a share of their targets that differs from row to row."""

    def rows(self, first: int, count: int) -> Rows:
        each = [self._row(r) for r in range(first, first + count)]
        return {name: np.stack([row[name] for row in each]) for name in each[0]}

    def _row(self, r: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(r)
        tokens = rng.integers(VOCABULARY, size=LENGTH + 1)
        positions = np.arange(LENGTH)
        keep = rng.random(LENGTH) < (r % 4 + 1) / 4
        return {
            "tokens": tokens[:-1], "targets": tokens[1:], "segments": 0 * positions, "positions": positions,
            "keep": keep,
        }  # fmt: skip


def train(tensor_parallel: int, folder: Path, *, micro_batch: int | None = None) -> dict[str, Tensor]:
    """Losses, norms and the trained parameters after the steps."""
    config = LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=VOCABULARY, qkv_bias=True, out_bias=True, mlp_bias=True,
    )  # fmt: skip
    net = llama.build(config)
    initialise(net, 1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += torch.randn(parameter.shape, generator=generator) * 0.2
    delta = add_lora(net, LoraConfig(rank=3, alpha=6), generator)
    for layer in delta.layers.values():
        layer.lora_b.data.normal_(std=0.1, generator=generator)
    frozen = {name: p.detach().clone() for name, p in net.named_parameters() if not p.requires_grad}
    made = Trainer(
        net,
        NextToken(),
        TrainingData(RandomRows(), None),
        TrainConfig(
            steps=3, batch=BATCH, length=LENGTH, tensor_parallel=tensor_parallel, micro_batch=micro_batch,
            optimiser={"clip": 1.0, "learning_rate": 1e-2},
        ),
        Placement("cpu", torch.float32, 1, False, 0.0, {}),
        Parallel.start("cpu", tensor_parallel),
        folder,
        Console.quiet(),
    )  # fmt: skip
    outcomes = [made.update(made.loader.batch(step)) for step in range(3)]
    assert made.parameters.keys() == delta.parameters().keys()
    if not dist.is_initialized():
        assert all(torch.equal(net.get_parameter(name), value) for name, value in frozen.items())
    return made.whole_model() | {
        "loss": torch.stack([o.loss for o in outcomes]),
        "norm": torch.stack([o.norm for o in outcomes]),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    found = train(int(sys.argv[1]), Path(sys.argv[2]))
    if dist.get_rank() == 0:
        save_file(found, Path(sys.argv[2]) / "found.safetensors")
    dist.destroy_process_group()
