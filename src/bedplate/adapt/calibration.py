"""From log-likelihoods of labels to probabilities of classes: which rule, chosen on validation, and how sure to be.

A chat model finds some labels likelier than others whatever the text is, short ones and common words above all; each
rule takes that away in its own manner, or not at all. All are one gain and one offset a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bedplate.adapt.baselines import log_loss, softmax

Floats = npt.NDArray[np.float64]
Rule = Literal["sum", "mean", "mean less prior", "sum less domain", "standardised"]

TEMPERATURES = tuple(float(t) for t in np.geomspace(0.02, 50, 50))


@dataclass(frozen=True)
class Calibration:
    """scores = gain * sums + offset, and their softmax at `temperature` are the probabilities. gain, offset: [K]."""

    rule: str
    gain: tuple[float, ...]
    offset: tuple[float, ...]
    temperature: float = 1.0

    def scores(self, sums: Floats) -> Floats:
        """[N, K] -> [N, K]."""
        scores: Floats = sums * np.array(self.gain) + np.array(self.offset)
        return scores

    def probabilities(self, sums: Floats) -> Floats:
        """[N, K] -> rows that sum to 1."""
        return softmax(self.scores(sums) / self.temperature)


def candidates(sums: Floats, tokens: npt.NDArray[np.int64], content_free: Floats) -> list[Calibration]:
    """Every rule. sums [N, K] of texts of the task, whose labels aren't needed; tokens [K] of each label; content_free
    [C, K] of texts that say nothing.

    sum: the log-likelihood of the label. mean: a token's share of it. mean less prior: the mean less that after a text
    that says nothing (Zhao et al. 2021, arXiv 2102.09690; Holtzman et al. 2021, arXiv 2104.08315). sum less domain: the
    sum less its mean over texts of the task (Zhou et al. 2023, arXiv 2309.17249). standardised: the same, over the
    standard deviation among these texts, for labels whose likelihood says little swing little.
    """
    K, n = sums.shape[1], tokens.astype(np.float64)
    prior = np.logaddexp.reduce(content_free, axis=0) - np.log(len(content_free))
    mean, spread = sums.mean(axis=0), np.maximum(sums.std(axis=0), 1e-3)
    rules: dict[Rule, tuple[Floats, Floats]] = {
        "sum": (np.ones(K), np.zeros(K)),
        "mean": (1 / n, np.zeros(K)),
        "mean less prior": (1 / n, -prior / n),
        "sum less domain": (np.ones(K), -mean),
        "standardised": (1 / spread, -mean / spread),
    }
    return [Calibration(rule, tuple(gain), tuple(offset)) for rule, (gain, offset) in rules.items()]


def choose(
    rules: Sequence[Calibration], sums: Floats, classes: Sequence[str], targets: Sequence[str]
) -> tuple[Calibration, dict[str, Any], list[bool]]:
    """The rule that is right most often on validation, then the one of least log loss, at its best temperature; how
    each did; and which examples the chosen one has right."""
    best: tuple[tuple[float, float], Calibration, list[bool]] | None = None
    tried: dict[str, Any] = {}
    for rule in rules:
        scores = rule.scores(sums)
        right = [classes[k] == t for k, t in zip(scores.argmax(axis=1), targets, strict=True)]
        accuracy = float(np.mean(right))
        losses = {t: log_loss(softmax(scores / t), classes, targets) for t in TEMPERATURES}
        temperature = min(losses, key=lambda t: losses[t])
        tried[rule.rule] = {"accuracy": round(accuracy, 4), "log_loss": round(losses[temperature], 4)}
        if best is None or (accuracy, -losses[temperature]) > best[0]:
            best = (accuracy, -losses[temperature]), replace(rule, temperature=temperature), right
    assert best is not None
    return best[1], tried, best[2]
