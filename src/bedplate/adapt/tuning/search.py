"""The search for a learning rate, and the run that it ends in: resumable, and keeping the best that was seen."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from bedplate.adapt.tuning.plan import Costs, Plan, checks
from bedplate.console import Console
from bedplate.errors import InputError
from bedplate.ledger.atomic import atomic_write
from bedplate.objectives.term import Net
from bedplate.report.training import read_metrics
from bedplate.train.loop import Trainer
from bedplate.train.metrics import DivergedError

PATIENCE = 4
"""A run ends when so many validations in succession haven't bettered its best."""

DIVERGED = "diverged"
"""Holds the step at which a learning rate's loss was no finite number any more."""

Scores = dict[str, Any]
Rank = Callable[[Scores], tuple[float, ...]]
"""How good scores are; the greater, the better."""


@dataclass(frozen=True)
class Tried:
    """What became of one learning rate: steps done, the scores of its last validation (None where it diverged), and the
    operations it took."""

    learning_rate: float
    steps: int
    scores: Scores | None
    flops: float


@dataclass(frozen=True)
class Best:
    """The best that any validation saw: whose, when, how good. detail: what the validation knew beside its scores."""

    learning_rate: float | None
    step: int
    scores: Scores
    detail: Any


@dataclass(frozen=True)
class Outcome:
    """start: the scores before the first step. tried: the learning rates, the one that was finished first."""

    start: Scores
    best: Best
    tried: list[Tried]


@dataclass
class Search(Generic[Net]):
    """Trains along a plan. What it needs to go on after a kill lies in `folder`.

    start, start_scores: the trained parameters' first values, and their scores where they are known. trainer: makes the
    trainer of a learning rate, which works in the given folder. rank, detail: of a validation just made. before_step:
    told each step's number.
    """

    plan: Plan
    costs: Costs
    rates: tuple[float, ...]
    start: dict[str, Tensor]
    start_scores: Scores | None
    trainer: Callable[[float, Path], Trainer[Net]]
    rank: Rank
    detail: Callable[[], Any]
    before_step: Callable[[int], None]
    folder: Path
    console: Console

    def run(self) -> Outcome:
        """Search and train; the best parameters are then in the net. Raises InputError where every rate diverges."""
        first = self._made(self.rates[0])
        start = self.start_scores or first.validate()
        self._keep(first, None, 0, start)
        alive = list(self.rates)
        gone: list[float] = []
        reached = 0
        for rung in self.plan.rungs:
            if len(alive) > rung.rates:
                # As it stood there: what goes on after a kill may have gone further already.
                standing = {rate: self._standing(self._tried(rate, reached)) for rate in alive}
                alive.sort(key=standing.__getitem__, reverse=True)
                gone = alive[rung.rates :] + gone
                alive = alive[: rung.rates]
            for rate in alive:
                self._advance(rate, rung.until)
            reached = rung.until
        tried = [self._tried(rate, reached) for rate in (*alive, *gone)]
        if all(each.scores is None for each in tried):
            raise InputError(
                f"the loss was no finite number any more at step {tried[0].steps} with way.learning_rates "
                f"{', '.join(f'{rate:g}' for rate in self.rates)}",
                "Give lower ones.",
            )
        return Outcome(start, self._best(first), tried)

    def _standing(self, tried: Tried) -> tuple[float, ...]:
        return (-math.inf,) if tried.scores is None else self.rank(tried.scores)

    def _advance(self, rate: float, until: int) -> None:
        """Train one rate until a step, unless it has come there or has had enough."""
        if self._checkpointed(rate) >= until or self._diverged(rate) or self._exhausted(self._validated(rate)):
            return
        run = self._made(rate)

        def judge(step: int, scores: Scores) -> bool:
            if not all(map(math.isfinite, self.rank(scores))):
                raise DivergedError(
                    f"the validation's loss is no finite number at step {step}", "Lower the rate.", step
                )
            self._keep(run, rate, step, scores)
            assert run.metrics is not None
            earlier = [line["validation"] for line in run.metrics.lines() if "validation" in line]
            return self._exhausted([*earlier, scores])

        try:
            run.train(until, judge=judge, before_step=self.before_step)
        except DivergedError as error:
            atomic_write(self._place(rate) / DIVERGED, str(error.step))
        tried = self._tried(rate, until)
        if len(self.rates) > 1:
            said = "diverged" if tried.scores is None else _figures(tried.scores)
            self.console.say(f"learning rate {rate:g}, step {tried.steps} of {self.plan.steps}: {said}")

    def _made(self, rate: float) -> Trainer[Net]:
        run = self.trainer(rate, self._place(rate))
        run.load_state(self.start, {})
        return run

    def _exhausted(self, validated: list[Scores]) -> bool:
        """Whether the last `PATIENCE` validations were no better than the best before them."""
        ranks = [self.rank(scores) for scores in validated]
        return len(ranks) > PATIENCE and max(ranks[-PATIENCE:]) <= max(ranks[:-PATIENCE])

    def _place(self, rate: float) -> Path:
        folder = self.folder / f"rate-{self.rates.index(rate)}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _lines(self, rate: float) -> list[dict[str, Any]]:
        path = self._place(rate) / "metrics.jsonl"
        return [line for line in read_metrics(path) if "validation" in line] if path.exists() else []

    def _validated(self, rate: float) -> list[Scores]:
        return [line["validation"] for line in self._lines(rate)]

    def _checkpointed(self, rate: float) -> int:
        """The step of its newest checkpoint."""
        names = (path.name.removeprefix("step-") for path in (self._place(rate) / "checkpoints").glob("step-*"))
        return max((int(name) for name in names if name.isdecimal()), default=0)

    def _diverged(self, rate: float) -> int:
        """The step at which it did, 0 if it hasn't."""
        path = self._place(rate) / DIVERGED
        return int(path.read_text()) if path.exists() else 0

    def _tried(self, rate: float, until: int) -> Tried:
        if step := self._diverged(rate):
            return Tried(rate, step, None, self._flops(step))
        line = [line for line in self._lines(rate) if line["step"] <= until][-1]
        steps = int(line["step"])
        return Tried(rate, steps, line["validation"], self._flops(steps))

    def _flops(self, steps: int) -> float:
        return sum(self.costs.steps[:steps]) + len(checks(self.plan, steps)) * self.costs.validation

    @property
    def _best_file(self) -> Path:
        return self.folder / "best.safetensors"

    def _keep(self, run: Trainer[Net], rate: float | None, step: int, scores: Scores) -> None:
        """Remember the parameters if nothing seen is as good. One file, put in place by a rename."""
        if self._best_file.exists() and self.rank(scores) <= self.rank(self._read_best().scores):
            return
        record = {"learning_rate": rate, "step": step, "scores": scores, "detail": self.detail()}
        partial = self._best_file.with_suffix(".partial")
        save_file(run.whole_model(), partial, metadata={"best": json.dumps(record)})
        os.replace(partial, self._best_file)

    def _read_best(self) -> Best:
        with safe_open(self._best_file, framework="pt") as file:
            return Best(**json.loads(file.metadata()["best"]))

    @torch.no_grad()
    def _best(self, run: Trainer[Net]) -> Best:
        with safe_open(self._best_file, framework="pt") as file:
            run.load_state({name: file.get_tensor(name) for name in file.keys()}, {})  # noqa: SIM118 - not a mapping
        return self._read_best()


def _figures(scores: Scores) -> str:
    shown = [f"accuracy {scores['accuracy']:.1%}"] if "accuracy" in scores else []
    return ", ".join([*shown, f"loss {scores['loss']:.3f}"])
