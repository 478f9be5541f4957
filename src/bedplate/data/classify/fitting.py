"""Logistic regression on sparse rows by L-BFGS, in numpy alone: the same rows give the same weights."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bedplate.data.classify.config import Features
from bedplate.data.classify.features import sparse_batches

Floats = npt.NDArray[np.float64]

MOST_ITERATIONS = 300
_MEMORY = 8
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Matrix:
    """Examples as rows: row of entry i: rows[i], ascending; columns index `buckets`; values: weighted by idf, rows of
    length 1. buckets [F]: which hash buckets the columns are; idf [F]."""

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    values: Floats
    count: int
    buckets: npt.NDArray[np.int64]
    idf: Floats

    def times(self, weight: Floats) -> Floats:
        """[count]"""
        sums = np.bincount(self.rows, self.values * weight[self.columns], minlength=self.count)
        return sums.astype(np.float64, copy=False)

    def transposed_times(self, residual: Floats) -> Floats:
        """[F]"""
        sums = np.bincount(self.columns, self.values * residual[self.rows], minlength=len(self.buckets))
        return sums.astype(np.float64, copy=False)

    def some(self, chosen: npt.NDArray[np.int64]) -> Matrix:
        """Those rows, ascending, renumbered; the columns and their idf stay."""
        numbers = np.full(self.count, -1, dtype=np.int64)
        numbers[chosen] = np.arange(len(chosen))
        rows = numbers[self.rows]
        kept = rows >= 0
        return Matrix(rows[kept], self.columns[kept], self.values[kept], len(chosen), self.buckets, self.idf)


def matrix(texts: Sequence[str], features: Features) -> Matrix:
    """The examples' features. idf is log((1 + N) / (1 + n)) + 1 for a feature of n of N examples, as
    scikit-learn does."""
    found = [(first, sparse) for first, sparse in sparse_batches(texts, features)]
    rows = np.concatenate([np.empty(0, dtype=np.int64), *(first + sparse.rows for first, sparse in found)])
    hashed = np.concatenate([np.empty(0, dtype=np.int64), *(sparse.columns for _, sparse in found)])
    values = np.concatenate([np.empty(0), *(sparse.values.astype(np.float64) for _, sparse in found)])
    buckets, columns, documents = np.unique(hashed, return_inverse=True, return_counts=True)
    idf = (np.log((1 + len(texts)) / (1 + documents)) + 1).astype(np.float32).astype(np.float64)
    values *= idf[columns]
    lengths = np.sqrt(np.bincount(rows, values * values, minlength=len(texts)))
    values /= np.maximum(lengths, 1e-12)[rows]
    return Matrix(rows, columns, values, len(texts), buckets, idf)


@dataclass(frozen=True)
class Fit:
    """weight [F], bias; iterations, and whether the gradient became small enough."""

    weight: Floats
    bias: float
    iterations: int
    converged: bool

    def logits(self, x: Matrix) -> Floats:
        return x.times(self.weight) + self.bias


def fit(x: Matrix, positive: npt.NDArray[np.bool_], importance: Floats, strength: float) -> Fit:
    """The least of  strength * sum(importance * loss) + |weight|^2 / 2,  loss the logistic one (scikit-learn's C is
    `strength`). The bias isn't held back. importance [N]: what each example counts.

    L-BFGS (Nocedal and Wright, Numerical Optimization, 2006, algorithm 7.4) with a backtracking search.
    """
    signs = np.where(positive, 1.0, -1.0)
    size = len(x.buckets)

    def value(point: Floats) -> tuple[float, Floats]:
        margins = signs * (x.times(point[:size]) + point[size])
        losses = np.logaddexp(0.0, -margins)
        residual = -strength * importance * signs * (0.5 - 0.5 * np.tanh(0.5 * margins))
        gradient = np.append(x.transposed_times(residual) + point[:size], residual.sum())
        return strength * float((importance * losses).sum()) + 0.5 * _dot(point[:size], point[:size]), gradient

    point = np.zeros(size + 1)
    loss, gradient = value(point)
    enough = _TOLERANCE * max(1.0, float(np.abs(gradient).max()))
    pairs: deque[tuple[Floats, Floats]] = deque(maxlen=_MEMORY)
    for iteration in range(1, MOST_ITERATIONS + 1):
        if np.abs(gradient).max() <= enough:
            return Fit(point[:size], float(point[size]), iteration - 1, True)
        direction = -_two_loops(gradient, pairs)
        slope = _dot(direction, gradient)
        step = 1.0 if pairs else 1.0 / max(1.0, float(np.sqrt(_dot(gradient, gradient))))
        for _ in range(40):
            trial = point + step * direction
            new_loss, new_gradient = value(trial)
            if new_loss <= loss + 1e-4 * step * slope:
                break
            step *= 0.5
        else:
            break  # as low as floating point goes
        moved, turned = trial - point, new_gradient - gradient
        if _dot(moved, turned) > 1e-12:
            pairs.append((moved, turned))
        point, loss, gradient = trial, new_loss, new_gradient
    return Fit(point[:size], float(point[size]), iteration, bool(np.abs(gradient).max() <= enough))


def _dot(a: Floats, b: Floats) -> float:
    """Not BLAS, whose sums depend on the number of threads."""
    return float((a * b).sum())


def _two_loops(gradient: Floats, pairs: deque[tuple[Floats, Floats]]) -> Floats:
    """The inverse Hessian, as the last steps show it, times the gradient."""
    out = gradient.copy()
    shares = []
    for moved, turned in reversed(pairs):
        share = _dot(moved, out) / _dot(moved, turned)
        shares.append(share)
        out -= share * turned
    if pairs:
        moved, turned = pairs[-1]
        out *= _dot(moved, turned) / _dot(turned, turned)
    for (moved, turned), share in zip(pairs, reversed(shares), strict=True):
        out += (share - _dot(turned, out) / _dot(moved, turned)) * moved
    return out
