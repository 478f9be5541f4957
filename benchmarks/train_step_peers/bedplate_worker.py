"""Bedplate: the very update that `bedplate pretrain` makes, on whole rows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

import torch
from step_timing import SHAPE, UPDATE, Step, arguments, batches, prepare, report

import bedplate
from bedplate.console import Console
from bedplate.data.packing import Rows
from bedplate.families.llama import build
from bedplate.families.llama_config import LlamaConfig
from bedplate.nn.initialise import initialise
from bedplate.objectives.next_token import NextToken
from bedplate.train.config import OptimiserConfig, TrainConfig
from bedplate.train.loop import Trainer, TrainingData
from bedplate.train.parallel import Parallel
from bedplate.train.placement import place

VARIANTS = ("eager", "compiled")


class RandomRows:
    """A row source that the trainer is made with. The benchmark hands it batches itself."""

    def rows(self, first: int, count: int) -> Rows:
        tokens, targets = next(batches(first))
        return {"tokens": tokens[:count].numpy(), "targets": targets[:count].numpy()}


def prepare_trainer(variant: str, seed: int, threads: int = 0) -> Trainer:
    """A trainer of the benchmark's shape: fp32 parameters, bf16 compute, blocks compiled where the variant says so."""
    net = build(
        LlamaConfig(
            vocab_size=SHAPE.vocabulary,
            hidden_size=SHAPE.hidden_size,
            intermediate_size=SHAPE.feed_forward,
            num_hidden_layers=SHAPE.layers,
            num_attention_heads=SHAPE.heads,
            num_key_value_heads=SHAPE.kv_heads,
            rms_norm_eps=SHAPE.norm_eps,
            rope_theta=SHAPE.rope_theta,
            tie_word_embeddings=True,
        )
    )
    initialise(net, seed)
    compiling: dict[str, Literal["yes", "no"]] = {"eager": "no", "compiled": "yes"}
    config = TrainConfig(
        steps=1,
        batch=SHAPE.rows,
        length=SHAPE.length,
        seed=seed,
        device="cpu",
        dtype="bfloat16",
        compile=compiling[variant],
        threads=threads or None,
        optimiser=OptimiserConfig(
            learning_rate=UPDATE.lr,
            beta1=UPDATE.betas[0],
            beta2=UPDATE.betas[1],
            eps=UPDATE.eps,
            weight_decay=UPDATE.weight_decay,
            clip=UPDATE.clip_norm,
        ),
    )
    # Only `update` is called: nothing is validated, and nothing is written to the folder.
    data = TrainingData(RandomRows(), validation=None, pairs_per_byte=1.0)
    folder = Path(tempfile.gettempdir()) / "bedplate-train-step"
    placement = place(config, flops=0.0)
    if variant == "compiled" and not placement.compiled:
        raise SystemExit(f"bedplate: {placement.record['compiled_why']}")
    objective = NextToken(compiled=placement.compiled)
    return Trainer(net, objective, data, config, placement, Parallel(), folder, Console.quiet())


def prepare_step(trainer: Trainer) -> Step:
    rows, length = SHAPE.rows, SHAPE.length
    every_row = {
        "segments": torch.zeros(rows, length, dtype=torch.int64),
        "positions": torch.arange(length).expand(rows, length).contiguous(),
        "keep": torch.ones(rows, length, dtype=torch.bool),
    }

    def step(tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return trainer.update({"tokens": tokens, "targets": targets, **every_row}).loss

    return step


def main() -> None:
    options = arguments(VARIANTS)
    prepare(options)
    trainer = prepare_trainer(options.variant, options.seed, options.threads)
    parameters = sum(p.numel() for p in trainer.net.parameters())
    report("bedplate", prepare_step(trainer), parameters, options, bedplate=bedplate.__version__)


if __name__ == "__main__":
    main()
