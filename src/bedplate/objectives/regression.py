"""Regression objectives: numbers for each row."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bedplate.objectives.prediction import predicted
from bedplate.objectives.term import Batch, Term

LEAST_LOG_VARIANCE = -14.0
"""A spread of 1e-3 of the values' unit: without an end to it, one row that is met exactly would outweigh all others."""


class SquaredError:
    """(prediction - value)^2, summed over the values that are known; the loop's mean is the mean squared error (least
    squares, Legendre 1805, Gauss 1809: the likelihood of values with one and the same Gaussian error).

    Batch: tokens [B, T] int64, right-padded; valid [B, T] bool, False for padding; values [B, K] fp32, best scaled to
    mean 0 and spread 1, NaN where unknown and in rows that only fill up. The net is an encoder with a head for K
    numbers of texts, or maps (tokens, valid) to [B, K].
    """

    def weights(self, batch: Batch) -> dict[str, Tensor]:
        return {"squared_error": _known(batch).sum()}

    def __call__(self, net: nn.Module, batch: Batch) -> dict[str, Term]:
        return {"squared_error": Term((_errors(predicted(net, batch), batch)).square().sum())}


class GaussianLikelihood:
    """-log N(value; mean, variance) in nats, summed over the values that are known: a net that tells how sure it is
    (Nix and Weigend 1994; Kendall and Gal 2017, arXiv 1703.04977, section 2.2).

    Batch: as `SquaredError`'s. The net gives 2 K numbers a row: K means, then the logarithms of K variances, held above
    `LEAST_LOG_VARIANCE`.
    """

    def weights(self, batch: Batch) -> dict[str, Tensor]:
        return {"gaussian": _known(batch).sum()}

    def __call__(self, net: nn.Module, batch: Batch) -> dict[str, Term]:
        mean, log_variance = predicted(net, batch).chunk(2, dim=-1)
        log_variance = log_variance.clamp(min=LEAST_LOG_VARIANCE)
        each = log_variance + math.log(2 * math.pi) + _errors(mean, batch).square() * torch.exp(-log_variance)
        return {"gaussian": Term(0.5 * each.where(_known(batch), 0.0).sum())}


def _known(batch: Batch) -> Tensor:
    return ~batch["values"].isnan()


def _errors(made: Tensor, batch: Batch) -> Tensor:
    """[B, K]: how far predictions are off, 0 and without a gradient where the value isn't known. Raises ValueError for
    predictions of another shape, which would be spread over the values in silence."""
    values = batch["values"]
    if made.shape != values.shape:
        raise ValueError(f"predictions of shape {tuple(made.shape)} for values of shape {tuple(values.shape)}")
    return (made - values).where(_known(batch), 0.0)
