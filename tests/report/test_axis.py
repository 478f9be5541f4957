"""Ticks are round, inside, few and different, whatever the range."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.report.axis import fit

numbers = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(numbers), st.booleans())
def test_any_values_have_an_axis(values, log):
    axis = fit(values, log=log)
    assert math.isfinite(axis.low)
    assert math.isfinite(axis.high)
    assert axis.low < axis.high
    for value in values:
        if axis.drawable(value):
            assert -1e-6 <= axis.place(value) <= 1 + 1e-6
    ticks = axis.ticks()
    assert len(ticks) <= 51
    for value, label in ticks:
        assert -1e-6 <= axis.place(value) <= 1 + 1e-6
        assert label


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ordinary_ranges_have_a_few_different_labels(low, span):
    axis = fit([low, low + span])
    labels = [label for _, label in axis.ticks()]
    assert 3 <= len(labels) <= 12
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 300], ["0", "50", "100", "150", "200", "250", "300"]),
        ([0.0, 0.0003], ["0", "5e-5", "1e-4", "1.5e-4", "2e-4", "2.5e-4", "3e-4"]),
        ([0, 2e6], ["0.0", "0.5M", "1.0M", "1.5M", "2.0M"]),
        ([-1, 1], ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
    ],
)
def test_labels(values, expected):
    labels = [label for _, label in fit(values, margin=0.0).ticks()]
    assert labels == expected


def test_logarithmic_ticks():
    assert [label for _, label in fit([1, 1000], log=True, margin=0.0).ticks()] == ["1", "10", "100", "1000"]
    few = [label for _, label in fit([2, 7], log=True, margin=0.0).ticks()]
    assert few == ["2", "5"]
    assert [label for _, label in fit([1e-7, 1e-5], log=True, margin=0.0).ticks()] == ["1e-7", "1e-6", "1e-5"]


def test_zero_is_the_end_of_a_bar_plot():
    assert fit([3, 9], zero=True).low == 0
    assert fit([-3, -9], zero=True).high == 0
    both = fit([-1, 1], zero=True)
    assert both.low < -1
    assert both.high > 1
