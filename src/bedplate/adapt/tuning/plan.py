"""How a budget of operations is spent: how many steps, how long each learning rate is tried, how often it is checked.

Plain arithmetic before anything is trained, so that two runs with one budget do the same. Learning rates are found by
successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943): all begin the run that they would finish; at the end
of each rung the better half goes on from where it is. Nothing is trained twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bedplate.errors import RecipeError

TRIAL = 0.25
"""Share of the run after which one learning rate is left."""
CHECKS = 8
"""Most validations in a run, but for those that end a rung."""
CHECKS_SHARE = 0.2
"""Most that they may cost beside the run's training."""
LEAST_STEPS = 8
"""Fewer steps than this aren't worth the name, unless the examples hold no more."""


@dataclass(frozen=True)
class Costs:
    """Operations. start: before the first step, the first validation included; validation: of one pass; steps: of each
    step of a run that takes all the epochs."""

    start: float
    validation: float
    steps: tuple[float, ...]


@dataclass(frozen=True)
class Rung:
    """`rates` learning rates are trained until `until` steps are done."""

    rates: int
    until: int


@dataclass(frozen=True)
class Plan:
    """steps: of the run that is finished. check_every: steps between validations, which the end of a rung adds to.
    flops: of all of it, unless it ends early."""

    steps: int
    rungs: tuple[Rung, ...]
    check_every: int
    flops: float


def plan(costs: Costs, rates: int, budget: float | None) -> Plan:
    """The longest run that the examples and the budget allow. Raises RecipeError where that is too short to be one."""
    most = len(costs.steps)
    done = np.concatenate([[0.0], np.cumsum(costs.steps)])
    steps = most if budget is None else _longest(lambda n: _planned(costs, done, n, rates).flops <= budget, most)
    least = min(LEAST_STEPS, most)
    if budget is not None and steps < least:
        needed = _planned(costs, done, least, rates).flops
        raise RecipeError(
            f"the budget of {budget:.3g} operations allows {steps} steps with {rates} learning "
            f"{'rates' if rates > 1 else 'rate'}, and at least {least} are needed",
            f"Give budget.flops {needed:.3g} or more, fewer way.learning_rates, or a smaller way.batch.",
        )
    return _planned(costs, done, steps, rates)


def checks(plan: Plan, until: int) -> list[int]:
    """The steps of a run up to `until` after which it is validated."""
    regular = range(plan.check_every, until + 1, plan.check_every)
    return sorted({*regular, *(rung.until for rung in plan.rungs if rung.until <= until)})


def rungs(steps: int, rates: int) -> tuple[Rung, ...]:
    """Halvings, of which the last ends at `TRIAL` of the steps, each twice as far as the one before; then the rest."""
    halvings = math.ceil(math.log2(rates)) if rates > 1 else 0
    made, left = [], rates
    for number in range(1, halvings + 1):
        made.append(Rung(left, max(number, round(steps * TRIAL / 2 ** (halvings - number)))))
        left = -(-left // 2)
    return (*(rung for rung in made if rung.until < steps), Rung(1, steps))


def _planned(costs: Costs, done: np.ndarray, steps: int, rates: int) -> Plan:
    """done: operations of the first n steps, [n + 1]."""
    if steps < 1:
        return Plan(0, (), 1, costs.start)
    affordable = int(CHECKS_SHARE * done[steps] / costs.validation) if costs.validation else CHECKS
    every = math.ceil(steps / min(max(affordable, 1), CHECKS))
    draft = Plan(steps, rungs(steps, rates), every, 0.0)
    flops = costs.start
    begins = [0, *(rung.until for rung in draft.rungs)]
    for rung, (begin, end) in zip(draft.rungs, pairwise(begins), strict=True):
        scored = sum(begin < step <= end for step in checks(draft, end))
        flops += rung.rates * (done[end] - done[begin] + scored * costs.validation)
    return Plan(steps, draft.rungs, every, float(flops))


def _longest(fits: Callable[[int], bool], most: int) -> int:
    """The largest n up to `most` that fits, 0 where none does; `fits` is (all but) monotonic."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
