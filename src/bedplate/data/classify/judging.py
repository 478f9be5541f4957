"""How well probabilities tell two sides apart: ROC-AUC, precision, recall and F1 with intervals, and the threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bedplate.config.randomness import fold_in
from bedplate.data.classify.train_filter import Aim

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

RESAMPLES = 500


@dataclass(frozen=True)
class Judged:
    """Probabilities in order, and the side of each. Made once; each resample is then one pass."""

    order: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64]
    positive: Flags
    predicted: Flags

    @classmethod
    def of(cls, probabilities: npt.NDArray[np.floating[Any]], positive: Flags, threshold: float) -> Judged:
        order = np.argsort(probabilities, kind="stable")
        ranked = probabilities[order]
        group = np.cumsum(np.append(0, ranked[1:] != ranked[:-1]))[: len(ranked)].astype(np.int64)
        return cls(order, group, positive[order], ranked >= threshold)

    def auc(self, counts: Floats) -> float:
        """The chance that a positive one has a higher probability than a negative one, ties half. counts [N]: how often
        each example is there, in the order of the probabilities."""
        yes = np.bincount(self.group, counts * self.positive)
        no = np.bincount(self.group, counts * ~self.positive)
        below = np.cumsum(no) - no
        return float((yes * (below + 0.5 * no)).sum() / (yes.sum() * no.sum()))

    def figures(self, counts: Floats) -> dict[str, float]:
        hit = float(counts[self.positive & self.predicted].sum())
        said, true = float(counts[self.predicted].sum()), float(counts[self.positive].sum())
        right = float(counts[self.positive == self.predicted].sum())
        return {
            "roc_auc": self.auc(counts),
            "precision": hit / said if said else 0.0,
            "recall": hit / true,
            "f1": 2 * hit / (said + true),
            "accuracy": right / float(counts.sum()),
        }


def judge(probabilities: npt.NDArray[np.floating[Any]], positive: Flags, threshold: float, seed: int) -> dict[str, Any]:
    """{figure: {value, low, high}} with the 95% interval of the percentile bootstrap within each side, and the
    confusion table. Both sides must have examples."""
    judged = Judged.of(probabilities, positive, threshold)
    value = judged.figures(np.ones(len(positive)))
    rng = np.random.Generator(np.random.PCG64(fold_in(seed, "bootstrap")))
    sides = [np.flatnonzero(judged.positive == side) for side in (True, False)]
    drawn: dict[str, list[float]] = {name: [] for name in value}
    for _ in range(RESAMPLES):
        counts = np.zeros(len(positive))
        for side in sides:
            counts += np.bincount(side[rng.integers(len(side), size=len(side))], minlength=len(positive))
        for name, figure in judged.figures(counts).items():
            drawn[name].append(figure)
    out: dict[str, Any] = {}
    for name, figure in value.items():
        low, high = np.quantile(drawn[name], [0.025, 0.975])
        out[name] = {"value": round(figure, 4), "low": round(float(low), 4), "high": round(float(high), 4)}
    table = {
        f"{'positive' if true else 'negative'} as {'positive' if said else 'negative'}": int(
            ((judged.positive == true) & (judged.predicted == said)).sum()
        )
        for true in (True, False)
        for said in (True, False)
    }
    return {**out, "confusion": table}


def choose_threshold(probabilities: npt.NDArray[np.floating[Any]], positive: Flags, aim: Aim) -> tuple[float, bool]:
    """The threshold, and whether the aim is reached with it on these examples; where none reaches a wished precision,
    the one that comes nearest."""
    if aim.threshold is not None:
        return aim.threshold, True
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    hits = np.cumsum(positive[order])[last].astype(np.float64)
    precision, recall = hits / (last + 1), hits / positive.sum()
    if aim.precision is not None:
        reached = precision >= aim.precision
        best = int(np.where(reached, recall, -1).argmax() if reached.any() else precision.argmax())
        met = bool(reached.any())
    elif aim.recall is not None:
        best, met = int(np.where(recall >= aim.recall, precision, -1).argmax()), True
    else:
        best, met = int((2 * hits / (last + 1 + positive.sum())).argmax()), True
    # Halfway to the next lower probability, so that rounding doesn't move the last one over the border.
    here = float(ranked[last[best]])
    below = float(ranked[last[best] + 1]) if last[best] + 1 < len(ranked) else 0.0
    return min(max((here + below) / 2, 0.0), 1.0), met
