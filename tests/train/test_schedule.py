"""Learning-rate schedules: laws that hold for every length, warm-up and shape."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.train.config import ScheduleConfig
from bedplate.train.schedule import share

DECAYS = ("cosine", "linear", "wsd", "constant")


@st.composite
def schedules(draw):
    steps = draw(st.integers(1, 400))
    config = ScheduleConfig(
        decay=draw(st.sampled_from(DECAYS)),
        warmup=draw(st.integers(0, steps - 1)),
        final=draw(st.floats(0, 1)),
        decay_share=draw(st.floats(0.001, 1)),
    )
    return config, steps, [share(config, step, steps) for step in range(steps)]


@given(schedules())
def test_never_above_the_peak_nor_below_the_end(drawn):
    config, _, shares = drawn
    after = shares[config.warmup :]
    assert all(config.final - 1e-12 <= s <= 1 + 1e-12 for s in after)
    assert all(0 < s <= 1 for s in shares[: config.warmup])


@given(schedules())
def test_rises_evenly_to_the_peak_and_falls_from_there(drawn):
    config, _, shares = drawn
    warmup = config.warmup
    assert shares[:warmup] == pytest.approx([(i + 1) / warmup for i in range(warmup)])
    assert shares[warmup] == pytest.approx(1)
    after = shares[warmup:]
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(after))


@given(schedules())
def test_ends_where_it_should(drawn):
    config, steps, shares = drawn
    if config.decay == "constant" or steps - config.warmup == 1:
        assert shares[-1] == pytest.approx(1)
    elif config.decay != "wsd" or math.ceil(config.decay_share * steps) > 1:
        assert shares[-1] == pytest.approx(config.final)


@given(st.integers(10, 400), st.floats(0.05, 1), st.floats(0, 1))
def test_wsd_is_constant_and_then_a_line(steps, decay_share, final):
    config = ScheduleConfig(decay="wsd", decay_share=decay_share, final=final)
    shares = [share(config, step, steps) for step in range(steps)]
    decaying = math.ceil(decay_share * steps)
    assert shares[: steps - decaying] == [1.0] * (steps - decaying)
    falls = [a - b for a, b in itertools.pairwise(shares[steps - decaying :])]
    assert falls == pytest.approx([(1 - final) / max(1, decaying - 1)] * len(falls), abs=1e-9)


def test_cosine_is_half_way_down_in_the_middle():
    assert share(ScheduleConfig(final=0.2), 50, 101) == pytest.approx(0.6)
