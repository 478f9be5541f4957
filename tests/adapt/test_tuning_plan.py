"""The plan of a search: laws of the arithmetic, and the batches that it counts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.adapt.tuning.class_rows import POOL, ClassRows, LabelledTexts, scoring_batches
from bedplate.adapt.tuning.plan import CHECKS, LEAST_STEPS, Costs, checks, plan, rungs
from bedplate.adapt.tuning.tune import micro_batch
from bedplate.errors import RecipeError

COSTS = st.builds(
    Costs,
    start=st.floats(0, 1e6),
    validation=st.floats(1, 1e5),
    steps=st.lists(st.floats(1, 1e4), min_size=1, max_size=300).map(tuple),
)
RATES = st.integers(1, 9)
LAW = settings(max_examples=60, deadline=None)


def spent(costs, made):
    """What carrying the plan out costs, step by step and validation by validation."""
    total, begin = costs.start, 0
    for rung in made.rungs:
        steps = sum(costs.steps[begin : rung.until])
        scored = len([step for step in checks(made, rung.until) if step > begin])
        total += rung.rates * (steps + scored * costs.validation)
        begin = rung.until
    return total


@LAW
@given(COSTS, RATES)
def test_without_a_budget_it_takes_every_step(costs, rates):
    made = plan(costs, rates, None)
    assert made.steps == made.rungs[-1].until == len(costs.steps)
    assert made.flops == pytest.approx(spent(costs, made))


@LAW
@given(COSTS, RATES, st.floats(0.01, 1.5))
def test_the_budget_is_kept_and_used(costs, rates, share):
    budget = plan(costs, rates, None).flops * share
    least = min(LEAST_STEPS, len(costs.steps))
    try:
        made = plan(costs, rates, budget)
    except RecipeError as refused:
        needed = float((refused.fix or "").split("budget.flops ")[1].split(" or more")[0])
        made = plan(costs, rates, needed * 1.01)
        budget = max(budget, needed * 1.01)
    assert made.steps >= least
    assert made.flops <= budget
    assert made.flops == pytest.approx(spent(costs, made))
    if share >= 1:
        assert made.steps == len(costs.steps)


@LAW
@given(st.integers(1, 10_000), RATES)
def test_rungs_halve_the_rates_and_end_with_one(steps, rates):
    made = rungs(steps, rates)
    ends = [rung.until for rung in made]
    assert ends == sorted(set(ends))
    assert ends[-1] == steps
    counts = [rung.rates for rung in made]
    assert counts[-1] == 1
    assert counts == sorted(counts, reverse=True)
    if steps >= 16:
        assert counts[0] == rates
        assert all(after == -(-before // 2) for before, after in pairwise(counts))


@LAW
@given(COSTS, RATES)
def test_checks_are_few_and_end_every_rung(costs, rates):
    made = plan(costs, rates, None)
    found = checks(made, made.steps)
    assert len(found) <= CHECKS + len(made.rungs)
    assert {rung.until for rung in made.rungs} <= set(found)


@LAW
@given(st.integers(1, 64), st.integers(1, 5000))
def test_micro_batches_divide_the_batch(batch, longest):
    size = micro_batch(batch, longest)
    assert batch % size == 0
    assert size == 1 or size * longest <= 4096


def texts(lengths):
    return LabelledTexts([[i] * n for i, n in enumerate(lengths)], np.arange(len(lengths)), pad=-1)


@LAW
@given(st.lists(st.integers(1, 30), min_size=1, max_size=90), st.integers(1, 7), st.integers(0, 3))
def test_every_text_comes_once_an_epoch_and_any_row_can_be_asked_alone(lengths, batch, seed):
    stream = ClassRows(texts(lengths), batch, seed)
    count = len(lengths)
    pool = batch * POOL
    whole = stream.order(0, 3 * pool)
    assert [int(stream.order(row, 1)[0]) for row in (0, pool - 1, pool, 2 * pool + batch)] == [
        whole[row] for row in (0, pool - 1, pool, 2 * pool + batch)
    ]
    # Pools cut the stream of epochs, so that each text has come as often as any other, but for one epoch's edge.
    times = np.bincount(whole, minlength=count)
    assert times.max() - times.min() <= 1
    other = ClassRows(texts(lengths), batch, seed + 1)
    assert count < 20 or other.order(0, pool).tolist() != stream.order(0, pool).tolist()


def test_rows_of_like_length_stand_together():
    lengths = np.random.default_rng(0).integers(1, 100, size=640)
    stream = ClassRows(texts(lengths), 8, 0)
    padded = sum(8 * stream.longest(step) for step in range(80))
    assert padded < 1.1 * lengths.sum()
    rows = stream.rows(8, 8)
    assert rows["tokens"].shape == (8, stream.longest(1))
    for tokens, valid, label in zip(rows["tokens"], rows["valid"], rows["labels"], strict=True):
        assert (tokens[valid] == label).all()
        assert (tokens[~valid] == -1).all()
        assert valid.sum() == lengths[label]


@LAW
@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 200))
def test_scoring_takes_every_text_once_within_its_places(lengths, places):
    batches = [chosen.tolist() for chosen in scoring_batches(np.array(lengths), places)]
    assert sorted(i for chosen in batches for i in chosen) == list(range(len(lengths)))
    assert all(len(chosen) == 1 or len(chosen) * max(lengths[i] for i in chosen) <= places for chosen in batches)
