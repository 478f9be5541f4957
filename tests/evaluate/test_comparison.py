"""Verdicts follow the paired intervals; intervals cover what they should."""

from __future__ import annotations

import numpy as np
import pytest

from bedplate.evaluate.comparison import Contender, compare
from bedplate.evaluate.statistics import mean_and_error, ratio_interval, wilson_interval

BYTES = np.array([100.0, 5000.0, 800.0, 300.0, 2000.0, 700.0] * 5)


def contender(name, bits):
    return Contender(name, "", bits, float(bits.sum()))


def test_a_small_but_constant_lead_is_found_and_noise_is_a_tie():
    rng = np.random.default_rng(0)
    difficulty = rng.uniform(0.5, 4, len(BYTES))
    model = contender("model", BYTES * difficulty)
    worse = contender("worse", BYTES * (difficulty + 0.02))
    better = contender("better", BYTES * (difficulty - 0.02))
    noisy = contender("noisy", BYTES * (difficulty + rng.normal(0, 0.3, len(BYTES))))
    stream = Contender("stream", "", None, 0.1 * float(BYTES.sum()))
    result = compare(model, [worse, better, noisy, stream], BYTES, seed=0)
    assert [row.get("against_model") for row in result["rows"]] == [None, "worse", "better", "tied", None]
    assert result["rows"][1]["minus_model"] == pytest.approx(0.02)
    assert result["verdict"] == (
        f"Model needs {result['rows'][0]['bits_per_byte']:.3f} bits for a byte of held-out text: better than worse; "
        "tied with noisy; worse than better. Without an interval: stream 0.100."
    )
    assert compare(model, [worse], BYTES, seed=0) == compare(model, [worse], BYTES, seed=0)


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(200):
        sizes = rng.lognormal(7, 1, 60)
        interval = ratio_interval(sizes * rng.gamma(8, 0.25, 60), sizes, seed=trial)
        hits += interval.low <= 2.0 <= interval.high
    assert 0.86 <= hits / 200 <= 0.99  # 95% asked for; the percentile bootstrap of 60 skewed documents gives a bit less


def test_wilson_interval():
    interval = wilson_interval(0, 10)
    assert (interval.value, interval.low) == (0.0, 0.0)
    assert interval.high == pytest.approx(0.2775, abs=1e-4)  # z^2 / (n + z^2)
    full = wilson_interval(10, 10)
    assert (full.high, full.low) == (pytest.approx(1.0), pytest.approx(1 - 0.2775, abs=1e-4))


def test_mean_and_error():
    assert mean_and_error([1.0]) == (1.0, None)
    assert mean_and_error([0.0, 1.0, 1.0, 0.0]) == (0.5, pytest.approx(0.288675, abs=1e-6))


def test_the_bootstrap_in_pieces_is_the_bootstrap(monkeypatch):
    """Its memory is bounded by drawing some resamples at a time, which mustn't change them."""
    from bedplate.evaluate import statistics

    random = np.random.default_rng(0)
    bits, sizes = random.gamma(2.0, 500.0, 300), random.integers(100, 900, 300).astype(float)
    whole = ratio_interval(bits, sizes, 7)
    monkeypatch.setattr(statistics, "DRAWS_AT_ONCE", 1000)
    assert ratio_interval(bits, sizes, 7) == whole
