"""Logistic regression with its strength chosen on validation: what the probe and the TF-IDF baseline both end with."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bedplate.errors import UserError

Floats = npt.NDArray[np.float64]

MOST_ITERATIONS = 300


@dataclass(frozen=True)
class Logistic:
    """Softmax of x weight^T + bias: weight [K, F], bias [K], rows as `classes`. tried: strength -> how it did on
    validation; right: which validation examples the chosen one has right."""

    classes: tuple[str, ...]
    weight: Floats
    bias: Floats
    tried: dict[str, Any]
    right: tuple[bool, ...]


def fit_logistic(
    train: Any, labels: Sequence[str], validation: Any | None, targets: Sequence[str], strengths: Sequence[float]
) -> Logistic:
    """Fit with each strength (scikit-learn's C, inverse regularisation) and keep the best on validation.

    train [N, F] and validation [M, F]: arrays, dense or sparse. Best: greatest accuracy, then least log loss, whose
    probabilities are the better calibrated. Without validation examples the first strength is taken. Raises UserError,
    naming the extra, without scikit-learn.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise missing_sklearn(error) from error
    tried: dict[str, Any] = {}
    best: tuple[tuple[float, float], Any, tuple[bool, ...]] | None = None
    for strength in strengths if len(targets) else strengths[:1]:
        # Not begun where the one before ended: scikit-learn then stops at once, far from this strength's optimum.
        model = LogisticRegression(C=strength, max_iter=MOST_ITERATIONS)
        with warnings.catch_warnings():  # said in `tried` instead
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(train, list(labels))
        right, loss = _judged(model, validation, targets) if len(targets) else ((), 0.0)
        accuracy = sum(right) / max(len(right), 1)
        tried[f"{strength:g}"] = {
            "accuracy": round(accuracy, 4),
            "log_loss": round(loss, 4),
            "converged": int(max(model.n_iter_)) < MOST_ITERATIONS,
        }
        if best is None or (accuracy, -loss) > best[0]:
            best = (accuracy, -loss), model, right
    assert best is not None
    return _of(best[1], tried, best[2])


def missing_sklearn(error: ImportError) -> UserError:
    """The error that says how to get it."""
    return UserError(
        f"scikit-learn isn't installed, and it fits this way ({error})", "Install it: pip install 'bedplate[adapt]'"
    )


def _judged(model: Any, validation: Any, targets: Sequence[str]) -> tuple[tuple[bool, ...], float]:
    scores = model.predict_proba(validation)
    column = {label: k for k, label in enumerate(model.classes_)}
    given = np.array([scores[n, column[t]] if t in column else 0.0 for n, t in enumerate(targets)])
    right = tuple(bool(said == t) for said, t in zip(model.classes_[scores.argmax(axis=1)], targets, strict=True))
    return right, float(-np.log(np.maximum(given, 1e-12)).mean())


def _of(model: Any, tried: dict[str, Any], right: tuple[bool, ...]) -> Logistic:
    classes = tuple(str(label) for label in model.classes_)
    weight, bias = np.asarray(model.coef_, dtype=np.float64), np.asarray(model.intercept_, dtype=np.float64)
    if len(classes) == 2 and len(weight) == 1:
        # Of two classes scikit-learn keeps one row, the second's log-odds: the first's are 0.
        weight, bias = np.concatenate((np.zeros_like(weight), weight)), np.concatenate((np.zeros_like(bias), bias))
    return Logistic(classes, weight, bias, tried, right)
