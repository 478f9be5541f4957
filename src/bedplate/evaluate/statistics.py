"""Uncertainty of a figure: bootstrap over documents, Wilson's interval for a share, the standard error of a mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bedplate.config.randomness import fold_in

Floats = NDArray[np.float64]

RESAMPLES = 2000
DRAWS_AT_ONCE = 1 << 20  # 8 bytes each, and 16 for what they draw
NORMAL_975 = 1.959963984540054  # quantile of the normal distribution that leaves 2.5% above


@dataclass(frozen=True)
class Interval:
    """A figure with the ends of its 95% interval."""

    value: float
    low: float
    high: float


def ratio_interval(numerators: Floats, denominators: Floats, seed: int) -> Interval:
    """sum(numerators) / sum(denominators) with the percentile bootstrap over the paired rows [documents].

    With few documents the interval is itself uncertain; with one it has no width and says nothing.
    """
    random, count = np.random.default_rng(fold_in(seed, "bootstrap")), len(numerators)
    ratios = np.empty(RESAMPLES)
    at_once = max(1, DRAWS_AT_ONCE // count)
    for first in range(0, RESAMPLES, at_once):
        draws = random.integers(count, size=(min(at_once, RESAMPLES - first), count))
        ratios[first : first + at_once] = numerators[draws].sum(axis=1) / denominators[draws].sum(axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Interval(float(numerators.sum() / denominators.sum()), float(low), float(high))


def wilson_interval(successes: int, trials: int) -> Interval:
    """A share with Wilson's score interval (E. B. Wilson, 1927): sensible at 0, at 1 and for few trials."""
    share = successes / trials
    z2 = NORMAL_975**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = NORMAL_975 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and its standard error (sample standard deviation over the root of the count); None for a single value."""
    array = np.asarray(values, dtype=np.float64)
    error = None if len(array) < 2 else float(array.std(ddof=1) / math.sqrt(len(array)))
    return float(array.mean()), error
