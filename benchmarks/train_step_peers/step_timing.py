"""What every contestant of the training-step benchmark shares: the shape, the data, the clock and the report.

A worker builds a `step(tokens, targets) -> loss` and hands it to `report`. This needs torch and the standard library
alone, so it runs unchanged in each peer's own environment: the load watch comes from Bedplate's source folder, where
that one file imports nothing else.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
from bedplate.machine.load import LoadWatch


@dataclass(frozen=True)
class Shape:
    """The model and the batch that all contestants train: a Llama decoder of 6.5M parameters."""

    hidden_size: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 704
    vocabulary: int = 8192
    rows: int = 16
    length: int = 256
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5

    @property
    def parameters(self) -> int:
        """Parameters with a tied head, counted by hand: a contestant with another number trains another model."""
        head = self.hidden_size // self.heads
        attention = 2 * self.hidden_size * head * (self.heads + self.kv_heads)
        block = attention + 3 * self.hidden_size * self.feed_forward + 2 * self.hidden_size
        return self.vocabulary * self.hidden_size + self.layers * block + self.hidden_size


@dataclass(frozen=True)
class Update:
    """The optimiser that all contestants use: AdamW with clipping, at one fixed rate."""

    lr: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip_norm: float = 1.0


SHAPE = Shape()
UPDATE = Update()

Step = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def arguments(variants: tuple[str, ...]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", choices=variants, required=True)
    parser.add_argument(
        "--warmup", type=int, default=3, help="steps before the clock starts; compilation falls in them"
    )
    parser.add_argument("--steps", type=int, default=15, help="timed steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="0 leaves PyTorch's own choice")
    return parser.parse_args()


def prepare(options: argparse.Namespace) -> None:
    torch.manual_seed(options.seed)
    if options.threads:
        torch.set_num_threads(options.threads)


def batches(seed: int, shape: Shape = SHAPE) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless (tokens, targets), each [rows, length] int64, uniform over the vocabulary; targets[t] = tokens[t + 1]."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        draw = torch.randint(shape.vocabulary, (shape.rows, shape.length + 1), generator=generator)
        yield draw[:, :-1].contiguous(), draw[:, 1:].contiguous()


@dataclass(frozen=True)
class Timing:
    """`foreign_share`: the part of the machine's cores, 0 to 1, that others took on average over the timed steps."""

    step_seconds: list[float]
    foreign_share: float | None
    losses: list[float]


def time_steps(step: Step, options: argparse.Namespace) -> Timing:
    data = batches(options.seed)
    losses = [float(step(*next(data))) for _ in range(options.warmup)]
    ready = [next(data) for _ in range(options.steps)]
    watch = LoadWatch()
    instants = [time.perf_counter()]
    for tokens, targets in ready:
        losses.append(float(step(tokens, targets)))
        instants.append(time.perf_counter())
    load = watch.load()
    foreign = None if load is None else load.foreign + load.stolen
    return Timing([after - before for before, after in pairwise(instants)], foreign, losses)


def report(contestant: str, step: Step, parameters: int, options: argparse.Namespace, **versions: str) -> None:
    """Time `step` and print one line of JSON on standard output."""
    if parameters != SHAPE.parameters:
        raise SystemExit(f"{contestant}: {parameters:,} parameters, expected {SHAPE.parameters:,}: not the same model")
    timing = time_steps(step, options)
    tokens = SHAPE.rows * SHAPE.length
    median = statistics.median(timing.step_seconds)
    print(
        json.dumps(
            {
                "contestant": contestant,
                "variant": options.variant,
                "tokens_per_s": tokens / median,
                "step_seconds": timing.step_seconds,
                "foreign_share": timing.foreign_share,
                "first_loss": timing.losses[0],
                "last_loss": timing.losses[-1],
                "parameters": parameters,
                "threads": torch.get_num_threads(),
                "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "versions": {"python": platform.python_version(), "torch": torch.__version__, **versions},
                "shape": asdict(SHAPE),
            }
        )
    )
