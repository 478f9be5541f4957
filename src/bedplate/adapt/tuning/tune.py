"""What tuning for classes and for answers have in common: a plan from the costs, the search, and what is told of it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import torch

from bedplate.adapt.fitting import Fitting
from bedplate.adapt.tuning.body import Body, TunedWay
from bedplate.adapt.tuning.plan import Costs, Plan, plan
from bedplate.adapt.tuning.search import Best, Outcome, Rank, Search
from bedplate.config import fold_in
from bedplate.data.row_sources import RowSource
from bedplate.objectives.term import Net, Objective
from bedplate.scaling.tuning_flops import METHOD
from bedplate.train.config import OptimiserConfig, ScheduleConfig, TrainConfig
from bedplate.train.loop import Trainer, TrainingData
from bedplate.train.parallel import Parallel
from bedplate.train.placement import Placement, place
from bedplate.train.validation import Validation

WORKSHOP = "tuning"
"""The folder of unfinished work inside the artefact; gone when it is finished."""
BATCHES = 8
"""A step takes at most this part of an epoch's rows, however large way.batch is: few examples want small steps."""
PLACES = 4096
"""Most places of a forward and backward pass, padding included, unless one row has more: it bounds memory."""
CHECKPOINT_FLOPS = 5e12
"""Operations between checkpoints: well under a minute on a few cores."""


@dataclass(frozen=True)
class Job(Generic[Net]):
    """What is to be learned, made ready. batch: rows of a step; longest: places of the longest row; start: scores
    before the first step, where they are known; rank, detail: of a validation just made; tokens: places of a step's
    rows that aren't padding."""

    net: Net
    body: Body
    objective: Objective[Net]
    rows: RowSource
    batch: int
    longest: int
    validation: Validation
    start: dict[str, Any] | None
    rank: Rank
    detail: Callable[[], Any]
    costs: Costs
    tokens: Callable[[int], int]
    rows_per_epoch: int


def placement_for(fitting: Fitting) -> Placement:
    """Where and in which type this fit computes. Nothing is compiled or measured: runs take seconds to minutes."""
    return place(TrainConfig(steps=1, compile="no"), 0.0, measure=False)


def batch_of(way: TunedWay, rows_per_epoch: int) -> int:
    """Rows of a step."""
    return min(way.batch, max(1, rows_per_epoch // BATCHES))


def steps_of(way: TunedWay, rows_per_epoch: int) -> int:
    """Steps of all the epochs."""
    return max(1, math.ceil(way.epochs * rows_per_epoch / batch_of(way, rows_per_epoch)))


def micro_batch(batch: int, longest: int) -> int:
    """Rows of one pass: the largest divisor of the batch that keeps to `PLACES`."""
    return next(n for n in range(batch, 0, -1) if batch % n == 0 and (n * longest <= PLACES or n == 1))


def planned(way: TunedWay, fitting: Fitting, costs: Costs) -> Plan:
    """Raises RecipeError where the budget is too small."""
    return plan(costs, len(rates_of(way)), fitting.budget.flops)


def rates_of(way: TunedWay) -> tuple[float, ...]:
    """The ladder, each rate once."""
    return tuple(dict.fromkeys(way.learning_rates))


def tune(way: TunedWay, fitting: Fitting, job: Job[Net], plan: Plan, placement: Placement) -> Best:
    """Search and train. The best parameters are then in the net, and the account of it in the work's measures."""
    start = {name: p.detach().cpu().clone() for name, p in job.net.named_parameters() if p.requires_grad}
    data = TrainingData(job.rows, job.validation)

    def trainer(rate: float, folder: Path) -> Trainer[Net]:
        config = _train_config(way, fitting, job, plan, rate)
        return Trainer(job.net, job.objective, data, config, placement, Parallel(), folder, fitting.work.console)

    search = Search(
        plan, job.costs, rates_of(way), start, job.start, trainer, job.rank, job.detail,
        before_step=lambda step: job.body.seed_dropout(fold_in(fitting.seed, "dropout", step)),
        folder=workshop(fitting), console=fitting.work.console,
    )  # fmt: skip
    found = search.run()
    _account(fitting, job, plan, placement, found)
    return found.best


def workshop(fitting: Fitting) -> Path:
    """Where unfinished work lies."""
    return fitting.work.path / WORKSHOP


def tidy(fitting: Fitting) -> None:
    """Leave only what is used."""
    shutil.rmtree(workshop(fitting), ignore_errors=True)


def _train_config(way: TunedWay, fitting: Fitting, job: Job[Net], plan: Plan, rate: float) -> TrainConfig:
    warmup = min(math.ceil(way.warmup * plan.steps), plan.steps - 1)
    each = sum(job.costs.steps[: plan.steps]) / plan.steps
    return TrainConfig(
        steps=plan.steps,
        batch=job.batch,
        length=job.longest,
        seed=fitting.seed,
        optimiser=OptimiserConfig(learning_rate=rate, beta2=0.999, weight_decay=way.weight_decay),
        schedule=ScheduleConfig(decay="linear", warmup=warmup, final=0.0),
        validate_every=plan.check_every,
        micro_batch=micro_batch(job.batch, job.longest),
        checkpoint_every=max(1, int(CHECKPOINT_FLOPS / each)),
        keep_checkpoints=1,
        log_every=max(1, plan.steps // 50),
        compile="no",
    )


def _account(fitting: Fitting, job: Job[Net], plan: Plan, placement: Placement, found: Outcome) -> None:
    best, tried = found.best, found.tried
    chosen = tried[0]
    flops = job.costs.start + sum(each.flops for each in tried)
    fitting.work.add_flops(flops, METHOD)
    fitting.work.measures |= {
        "steps": chosen.steps,
        "planned_steps": plan.steps,
        "epochs": round(chosen.steps * job.batch / job.rows_per_epoch, 3),
        "batch": job.batch,
        "tokens": sum(job.tokens(step) for each in tried for step in range(each.steps)),
        "learning_rate": chosen.learning_rate,
        "tried": [
            {"learning_rate": each.learning_rate, "steps": each.steps, "validation": each.scores or "diverged"}
            for each in tried
        ],
        "best": {"learning_rate": best.learning_rate, "step": best.step},
        "stopped_early": chosen.steps < plan.steps,
        "start": found.start,
        "validation": best.scores,
        "flops": flops,
        "trained_parameters": sum(p.numel() for p in job.net.parameters() if p.requires_grad),
        "dtype": str(placement.dtype).removeprefix("torch."),
    }


def check_validation(fitting: Fitting) -> None:
    """Raise InputError where there is nothing to train on or to choose by."""
    from bedplate.errors import InputError

    for split in ("train", "validation"):
        if not getattr(fitting.task, split):
            raise InputError(
                f"{fitting.task.name}: no {split} examples, and fine-tuning needs some",
                "Give more examples, or another share of them: task.validation, task.test.",
            )


def freeze_head(net: torch.nn.Module) -> None:
    """Freeze a language model's own head, which classification doesn't use."""
    head = getattr(net, "head", None)
    if head is not None:
        head.requires_grad_(False)
