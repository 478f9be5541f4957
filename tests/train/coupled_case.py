"""Steps of contrastive training, run in one process or by several, as `training_case` does for next tokens."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from bedplate.console import Console
from bedplate.data.row_sources import FirstRows
from bedplate.families import bert
from bedplate.families.bert_config import BertConfig
from bedplate.nn.embedding_net import EmbeddingNet
from bedplate.nn.initialise import initialise
from bedplate.objectives.contrastive import InfoNCE
from bedplate.train.config import TrainConfig
from bedplate.train.loop import Trainer, TrainingData
from bedplate.train.parallel import Parallel
from bedplate.train.placement import Placement
from bedplate.train.validation import MeanLoss

BATCH, VOCABULARY = 16, 53
WAYS = {"one way": (False, None), "both ways, learnt scale": (True, 14.0)}


class SomePairs:
    """Row r: a text and the same text shifted, of lengths that depend on r."""

    def rows(self, first: int, count: int) -> dict[str, np.ndarray]:
        each = [np.random.default_rng(r) for r in range(first, first + count)]
        tokens = np.stack([rng.integers(VOCABULARY, size=12) for rng in each])
        valid = np.arange(12) < np.array([rng.integers(3, 13) for rng in each])[:, None]
        return {
            "tokens": tokens,
            "valid": valid,
            "pair_tokens": (tokens[:, :9] + 1) % VOCABULARY,
            "pair_valid": valid[:, :9],
        }


def trainer(folder: Path, way: str, micro_batch: int | None = None) -> Trainer[EmbeddingNet]:
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=16,
    )  # fmt: skip
    both_ways, scale = WAYS[way]
    body = bert.build(config)
    initialise(body, 1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in body.parameters():
            parameter += torch.randn(parameter.shape, generator=generator) * 0.2
    net = EmbeddingNet(body, learnt_scale=scale)
    placement = Placement("cpu", torch.float32, 1, False, 1e9, {})
    parallel = Parallel.start("cpu", 1)
    validation = MeanLoss(FirstRows(SomePairs(), 40))
    options = TrainConfig(steps=10, batch=BATCH, length=12, micro_batch=micro_batch, optimiser={"clip": None})
    data = TrainingData(SomePairs(), validation)
    return Trainer(net, InfoNCE(both_ways=both_ways), data, options, placement, parallel, folder, Console.quiet())


def run(folder: Path, way: str, micro_batch: int | None = None) -> dict[str, Tensor]:
    """Loss and gradients of the first step, loss of the second, and the validation loss after both."""
    made = trainer(folder, way, micro_batch)
    first = made.update(made.loader.batch(0))
    gradients = {
        f"gradient of {name}": made.parallel.gather(p.grad, p, None).clone()
        for name, p in made.parameters.items()
        if p.grad is not None
    }
    second = made.update(made.loader.batch(1))
    validation = torch.tensor(made.validate()["loss"])
    return {"loss": first.loss, "norm": first.norm, "second loss": second.loss, "validation": validation} | gradients


def main(out: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for way in WAYS:
        for micro_batch in (8, 4):
            result = run(out, way, micro_batch)
            if dist.get_rank() == 0:
                file = out / f"{way} {micro_batch}.safetensors"
                save_file({name: value.contiguous() for name, value in result.items()}, file)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
