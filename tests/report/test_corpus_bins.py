"""Bins hold every value once, begin and end at round numbers, and show the bounds that they must."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.report.corpus_bins import Bins, fit_bins
from bedplate.report.corpus_histogram import histogram
from bedplate.report.corpus_notes import Bound

NUMBERS = st.lists(st.floats(-1e9, 1e9, width=32), max_size=60)
BOUNDS = st.lists(st.floats(-1e6, 1e6, width=32), max_size=3)


@given(NUMBERS, BOUNDS, st.booleans())
@settings(max_examples=300, deadline=None)
def test_every_value_is_in_one_bin_and_every_bound_in_sight(values, bounds, whole):
    values = np.round(np.array(values, dtype=np.float64)) if whole else np.array(values, dtype=np.float64)
    bounds = [float(round(bound)) for bound in bounds] if whole else bounds
    bins = fit_bins(values, bounds, whole=whole)
    if bins is None:
        assert not len(values) or (len(set(values)) == 1 and not bounds)
        return
    assert bins.count <= 100
    assert all(low < high for low, high in pairwise(bins.edges))
    assert bins.counts(values).sum() == len(values)
    reach = 1e-6 * (bins.edges[-1] - bins.edges[0])
    assert all(bins.edges[0] - reach <= bound <= bins.edges[-1] + reach for bound in bounds)
    assert all(0 <= place <= bins.count and label for place, label in bins.ticks)
    assert bins == fit_bins(values[::-1], bounds, whole=whole)
    picture = histogram(bins, bins.counts(values).tolist(), [0] * bins.count, [], title="x")
    assert f"{len(values):,} documents kept" in picture


def test_few_whole_numbers_have_a_bin_each():
    bins = fit_bins(np.array([0.0, 1, 1, 3]), [], whole=True)
    assert bins.edges == (-0.5, 0.5, 1.5, 2.5, 3.5)
    assert bins.counts(np.array([0.0, 1, 1, 3, 9])).tolist() == [1, 2, 0, 2]


def test_orders_of_magnitude_are_shown_evenly_and_zeros_apart():
    sample = np.concatenate([np.zeros(5), 10.0 ** np.arange(7).repeat(20)])
    bins = fit_bins(sample, [50], whole=True)
    assert bins.edges[:3] == (0.0, 0.5, 1.5)
    assert [label for _, label in bins.ticks][:3] == ["0", "1", "100"]
    assert bins.counts(sample)[0] == 5


def test_stragglers_do_not_stretch_the_range():
    sample = np.concatenate([np.linspace(0, 0.5, 10_000), [0.99]])
    bins = fit_bins(sample, [], whole=False)
    assert bins.edges[-1] < 0.6
    assert bins.counts(sample)[-1] > bins.counts(sample[:-1])[-1]


def test_a_histogram_says_its_bounds_and_what_it_holds():
    bins = Bins((0.0, 0.5, 1.0), ((0, "0"), (2, "1")), False)
    picture = histogram(bins, [3, 0], [1, 1000], [Bound("a <rule>", max=0.5)], title="share <b>")
    for expected in ("3 documents kept", "1,001 left out", "a &lt;rule&gt;: ≤ 0.5", "share &lt;b&gt;", ">log<"):
        assert expected in picture, expected
    assert "0.5 to 1 or more: 0 kept, 1,000 left out" in picture


@pytest.mark.parametrize(("bound", "words"), [(Bound("x", 50, 1e5), "50 at least, 100,000 at most"),
                                              (Bound("x", max=0.3), "0.3 at most")])  # fmt: skip
def test_bounds_in_words(bound, words):
    assert bound.words == words
