"""A net with a state, and an objective that sets it between steps; run in one process or by several."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from training_case import LENGTH, SHAPE, UnevenRows

from bedplate.console import Console
from bedplate.families import llama
from bedplate.families.llama_config import LlamaConfig
from bedplate.nn.decoder import Decoder
from bedplate.nn.initialise import initialise
from bedplate.nn.parameters import ParameterInfo
from bedplate.objectives.next_token import NextToken
from bedplate.objectives.term import Batch, Term
from bedplate.train.config import TrainConfig
from bedplate.train.loop import Trainer, TrainingData
from bedplate.train.parallel import Parallel
from bedplate.train.placement import Placement


class Counter(nn.Module):
    """What a router's balancing bias is to the loop: numbers that belong to the model, and that no gradient moves."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.Parameter(torch.zeros(2))

    def parameter_info(self) -> dict[str, ParameterInfo]:
        return {"seen": ParameterInfo("state", 1, 2)}


class Counting(NextToken):
    """Counts supervised places and steps in the net's state."""

    def __init__(self) -> None:
        super().__init__()
        self.part = torch.zeros(())
        self.steps = 0

    def __call__(self, net: Decoder, batch: Batch) -> dict[str, Term]:
        if net.training:
            self.part += batch["keep"].sum()
        return super().__call__(net, batch)

    def after_step(self, net: Decoder, sum_over_data: Callable[[Tensor], Tensor]) -> None:
        assert not torch.is_grad_enabled()
        net.counter.seen += torch.stack([sum_over_data(self.part.clone()), torch.ones(())])  # type: ignore[union-attr]
        self.part.zero_()
        self.steps += 1

    def report(self) -> dict[str, float]:
        told, self.steps = self.steps, 0
        return {"steps_counted": float(told)}


def trainer(folder: Path, **options: Any) -> Trainer[Decoder]:
    net = llama.build(LlamaConfig(**SHAPE))
    net.counter = Counter()
    initialise(net, 1)
    placement = Placement("cpu", torch.float32, 1, False, 0.0, {})
    config = TrainConfig(**({"steps": 6, "batch": 16, "length": LENGTH, "log_every": 2} | options))
    data = TrainingData(UnevenRows(), None)
    folder.mkdir(exist_ok=True)
    return Trainer(net, Counting(), data, config, placement, Parallel.start("cpu", 1), folder, Console.quiet())


def main(out: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    made = trainer(out)
    made.train()
    whole = made.whole_model()
    if dist.get_rank() == 0:
        save_file(whole, out / "whole.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
