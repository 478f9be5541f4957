"""Steps of training a mixture of experts, run in one process or by several, as `training_case` does for Llamas."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor
from training_case import BATCH, LENGTH, VOCABULARY, UnevenRows

from bedplate.console import Console
from bedplate.nn.attention import Attention
from bedplate.nn.decoder import Decoder
from bedplate.nn.experts import Experts
from bedplate.nn.feedforward import SwiGLU
from bedplate.nn.initialise import initialise
from bedplate.nn.norm import RMSNorm
from bedplate.nn.residual import Block, Residual
from bedplate.nn.rope import Rope
from bedplate.nn.router import GroupLimited, TopK
from bedplate.objectives.load_balance import Balanced
from bedplate.objectives.next_token import NextToken
from bedplate.train.config import TrainConfig
from bedplate.train.loop import Trainer, TrainingData
from bedplate.train.parallel import Parallel
from bedplate.train.placement import Placement


def run(folder: Path, micro_batch: int | None = None, steps: int = 3, compiled: bool = False) -> dict[str, Tensor]:
    """Losses, norms, figures, and parameters after the last step."""
    norm, width = RMSNorm(), 32
    attention = Residual(Attention(4, 2, 8, position=Rope(8)), pre_norm=norm)
    records = (Experts(TopK(5, 2), 24), Experts(GroupLimited(6, 2, 3, 2), 24, shared=SwiGLU(16)))
    blocks = [Block(attention, Residual(record, pre_norm=norm)) for record in records]
    net = Decoder(width, VOCABULARY, blocks, norm, tied=True)
    initialise(net, 1)
    config = TrainConfig(steps=10, batch=BATCH, length=LENGTH, micro_batch=micro_batch, schedule={"warmup": 2})
    placement = Placement("cpu", torch.float32, 1, compiled, 1e9, {})
    objective = Balanced(NextToken(), load=0.1, z=0.01, bias_rate=0.01, per="row")
    data = TrainingData(UnevenRows(), None, 0.25)
    parallel = Parallel.start("cpu", 1)
    trainer = Trainer(net, objective, data, config, placement, parallel, folder, Console.quiet())
    trainer.step.train()
    outcomes = [trainer.update(trainer.loader.batch(step)) for step in range(steps)]
    return {
        "loss": torch.stack([o.loss for o in outcomes]),
        "norm": torch.stack([o.norm for o in outcomes]),
        "figures": torch.tensor(list(objective.report().values())),
        **{f"parameter {name}": value for name, value in trainer.whole_model().items()},
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    found = run(Path(sys.argv[1]))
    if dist.get_rank() == 0:
        save_file(found, Path(sys.argv[1]) / "found.safetensors")
    dist.destroy_process_group()
