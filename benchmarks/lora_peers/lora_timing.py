"""What both contestants of the LoRA benchmark share: the task, the data, the clock and the report."""

from __future__ import annotations

import argparse
import json
import os
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
class Task:
    """SmolLM2-135M-Instruct with LoRA on all linear layers; 8 rows of 512 random tokens a step, all supervised; AdamW
    with clipping on the factors, at one rate."""

    rows: int = 8
    length: int = 512
    vocabulary: int = 49152
    rank: int = 16
    alpha: int = 32
    lr: float = 2e-4
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    clip_norm: float = 1.0
    trained: int = 4_884_480
    """Numbers in the factors: (in + out) * rank of 7 maps in 30 layers, counted by hand."""


TASK = Task()
Step = Callable[[torch.Tensor, torch.Tensor], float]


def arguments(variants: tuple[str, ...]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", choices=variants, required=True)
    base = os.environ.get("BEDPLATE_LORA_BASE")
    parser.add_argument("--base", type=Path, required=not base, default=base, help="SmolLM2's Hugging Face folder")
    parser.add_argument("--warmup", type=int, default=1, help="steps before the clock starts; compilation is in them")
    parser.add_argument("--steps", type=int, default=4, help="timed steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    return options


def batches(seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless (tokens, targets), each [rows, length] int64."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        draw = torch.randint(TASK.vocabulary, (TASK.rows, TASK.length + 1), generator=generator)
        yield draw[:, :-1].contiguous(), draw[:, 1:].contiguous()


def report(contestant: str, step: Step, trained: int, options: argparse.Namespace, **versions: str) -> None:
    """Time `step` (forward, loss, backward, clipping, AdamW; returns the mean loss) and print one line of JSON."""
    if trained != TASK.trained:
        raise SystemExit(f"{contestant}: {trained:,} numbers are trained, expected {TASK.trained:,}: another adapter")
    data = batches(options.seed)
    losses = [step(*next(data)) for _ in range(options.warmup)]
    watch = LoadWatch()
    instants = [time.perf_counter()]
    for _ in range(options.steps):
        losses.append(step(*next(data)))
        instants.append(time.perf_counter())
    load = watch.load()
    seconds = [after - before for before, after in pairwise(instants)]
    print(
        json.dumps(
            {
                "contestant": contestant,
                "variant": options.variant,
                "tokens_per_s": TASK.rows * TASK.length / statistics.median(seconds),
                "step_seconds": seconds,
                "foreign_share": None if load is None else load.foreign + load.stolen,
                "losses": losses,
                "threads": torch.get_num_threads(),
                "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "versions": {"python": platform.python_version(), "torch": torch.__version__, **versions},
                "task": asdict(TASK),
            }
        )
    )
