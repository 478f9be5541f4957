"""Bedplate: the update that `bedplate adapt` makes with the way `lora`, on a frozen bf16 base, two rows at a time.

Accumulation is exact (each part of the batch counts by its tokens), so how many rows are computed at once changes
memory and not the step.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

import torch
from lora_timing import TASK, arguments, batches, report

import bedplate
from bedplate.console import Console
from bedplate.data.packing import Rows
from bedplate.deltas.lora import LoraConfig, add_lora
from bedplate.generate.model import load_text
from bedplate.objectives.next_token import NextToken
from bedplate.train.config import OptimiserConfig, TrainConfig
from bedplate.train.loop import Trainer, TrainingData
from bedplate.train.parallel import Parallel
from bedplate.train.placement import place

VARIANTS = ("eager", "compiled")
MICRO_BATCH = 2


class RandomRows:
    """A row source that the trainer is made with. The benchmark hands it batches itself."""

    def rows(self, first: int, count: int) -> Rows:
        tokens, targets = next(batches(first))
        return {"tokens": tokens[:count].numpy(), "targets": targets[:count].numpy()}


def main() -> None:
    options = arguments(VARIANTS)
    model = load_text(options.base, dtype="bfloat16")
    generator = torch.Generator().manual_seed(options.seed)
    delta = add_lora(model.net, LoraConfig(rank=TASK.rank, alpha=TASK.alpha), generator)
    compiling: dict[str, Literal["yes", "no"]] = {"eager": "no", "compiled": "yes"}
    config = TrainConfig(
        steps=1,
        batch=TASK.rows,
        length=TASK.length,
        micro_batch=MICRO_BATCH,
        seed=options.seed,
        device="cpu",
        dtype="bfloat16",
        compile=compiling[options.variant],
        threads=options.threads,
        optimiser=OptimiserConfig(
            learning_rate=TASK.lr,
            beta1=TASK.betas[0],
            beta2=TASK.betas[1],
            eps=TASK.eps,
            weight_decay=0.0,
            clip=TASK.clip_norm,
        ),
    )
    placement = place(config, flops=0.0)
    if options.variant == "compiled" and not placement.compiled:
        raise SystemExit(f"bedplate: {placement.record['compiled_why']}")
    objective = NextToken(compiled=placement.compiled)
    folder = Path(tempfile.gettempdir()) / "bedplate-lora"  # only `update` is called: nothing is written there
    data = TrainingData(RandomRows(), validation=None)
    trainer = Trainer(model.net, objective, data, config, placement, Parallel(), folder, Console.quiet())
    every_row = {
        "segments": torch.zeros(TASK.rows, TASK.length, dtype=torch.int64),
        "positions": torch.arange(TASK.length).expand(TASK.rows, TASK.length).contiguous(),
        "keep": torch.ones(TASK.rows, TASK.length, dtype=torch.bool),
    }

    def step(tokens: torch.Tensor, targets: torch.Tensor) -> float:
        return float(trainer.update({"tokens": tokens, "targets": targets, **every_row}).loss)

    trained = sum(p.numel() for p in delta.parameters().values())
    report("bedplate", step, trained, options, bedplate=bedplate.__version__)


if __name__ == "__main__":
    main()
