"""What the test set can tell: intervals, paired tests against the best way, and groups of ways that are tied.

Each resample draws the test examples anew, the same for all ways, so that what makes an example hard for everybody
cancels out of differences; and for each way that ran with several seeds it draws its seeds anew, so that luck with
seeds counts too (with three seeds it is itself known only roughly). Percentile bootstrap (Efron 1979); p-values of the
comparisons with the best way are corrected by Holm's method (1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bedplate.config.randomness import fold_in
from bedplate.evaluate.statistics import DRAWS_AT_ONCE, Interval, wilson_interval

Floats = NDArray[np.float64]

RESAMPLES = 10_000
LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """How far a way lies behind the best of its comparison (positive: worse), with the 95% interval and p-values."""

    value: float
    low: float
    high: float
    p: float
    p_corrected: float


class Resamples:
    """The scores of all ways under the same resamples. rights: way -> [seeds, examples] in [0, 1]."""

    def __init__(self, rights: Mapping[str, Floats], *, seed: int = 0) -> None:
        sizes = {right.shape[1] for right in rights.values()}
        if len(sizes) != 1 or 0 in sizes:
            raise ValueError(f"ways answered different numbers of examples: {sorted(sizes)}")
        (self.examples,) = sizes
        self.scores = {name: float(right.mean()) for name, right in rights.items()}
        stacked = np.concatenate(list(rights.values()))  # [all seeds of all ways, examples]
        drawn = _example_resamples(stacked, seed)
        self._drawn: dict[str, Floats] = {}
        first = 0
        for name, right in rights.items():
            own = drawn[:, first : first + len(right)]
            first += len(right)
            self._drawn[name] = _seed_resamples(own, fold_in(seed, "seeds", name))

    @property
    def least(self) -> float:
        """No smaller difference can be told by so many examples, whatever the ways: the upper end of Wilson's interval
        for the share of examples that differ, where none was seen to."""
        return wilson_interval(0, self.examples).high

    def interval(self, name: str) -> Interval:
        """A way's score with its 95% interval; Wilson's where every answer is right or every one wrong."""
        score = self.scores[name]
        if score in (0.0, 1.0):
            return wilson_interval(round(score * self.examples), self.examples)
        low, high = np.quantile(self._drawn[name], [0.025, 0.975])
        return Interval(score, float(low), float(high))

    def against_best(self, names: Sequence[str]) -> dict[str, Difference]:
        """Each of the ways against the best of them, which is left out. Corrected over all that are given."""
        best = self.best(names)
        others = [name for name in names if name != best]
        found = {}
        for name in others:
            drawn = self._drawn[best] - self._drawn[name]
            low, high = np.quantile(drawn, [0.025, 0.975])
            value = self.scores[best] - self.scores[name]
            if low == high:  # the same on every example: resamples then say nothing of those that weren't drawn
                low, high = max(-1.0, value - self.least), min(1.0, value + self.least)
            found[name] = (value, float(low), float(high), _two_sided(drawn))
        corrected = holm({name: row[3] for name, row in found.items()})
        return {name: Difference(*row, corrected[name]) for name, row in found.items()}

    def best(self, names: Sequence[str]) -> str:
        """The way with the highest score; the first of several."""
        return max(names, key=lambda name: self.scores[name])

    def groups(self) -> list[list[str]]:
        """Ways in groups of equals, the best first: the best way and all that can't be told from it at the 5% level,
        then the same for the rest. In a group the best comes first."""
        left, groups = sorted(self.scores, key=lambda name: -self.scores[name]), []
        while left:
            differences = self.against_best(left)
            group = [name for name in left if name not in differences or differences[name].p_corrected > LEVEL]
            groups.append(group)
            left = [name for name in left if name not in group]
        return groups


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction: the smallest p-value times their number, the next times one less, never falling."""
    corrected: dict[str, float] = {}
    floor = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        floor = max(floor, min(1.0, p_values[name] * (len(p_values) - rank)))
        corrected[name] = floor
    return corrected


def _example_resamples(rights: Floats, seed: int) -> Floats:
    """Mean of each row under each resample of the columns: [RESAMPLES, rows]."""
    random, count = np.random.default_rng(fold_in(seed, "bootstrap")), rights.shape[1]
    drawn = np.empty((RESAMPLES, len(rights)))
    at_once = max(1, DRAWS_AT_ONCE // count)
    for first in range(0, RESAMPLES, at_once):
        size = min(at_once, RESAMPLES - first)
        columns = random.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        times = np.bincount(columns.ravel(), minlength=size * count).reshape(size, count)
        drawn[first : first + size] = times @ rights.T / count
    return drawn


def _seed_resamples(scores: Floats, seed: int) -> Floats:
    """The mean over as many seeds as there are, drawn with replacement for each row: [rows]."""
    seeds = scores.shape[1]
    if seeds == 1:
        return scores[:, 0]
    picks = np.random.default_rng(seed).integers(seeds, size=scores.shape)
    return np.take_along_axis(scores, picks, axis=1).mean(axis=1)


def _two_sided(drawn: Floats) -> float:
    """Share of resamples on the other side of 0, doubled; never 0, as no number of resamples shows that."""
    below, above = np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0)
    return float(min(1.0, 2 * (min(below, above) + 1) / (len(drawn) + 1)))
