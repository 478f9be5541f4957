"""The mean loss over a pass is that of all its rows at once, in whatever pieces they come."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from training_case import QWEN3, Case, UnevenRows, trainer

from bedplate.data.row_sources import FirstRows
from bedplate.errors import InputError
from bedplate.objectives.classification import Classes
from bedplate.objectives.next_token import NextToken
from bedplate.objectives.term import Term
from bedplate.train.loader import counted_batches
from bedplate.train.parallel import Parallel
from bedplate.train.validation import MeanLoss


class Two(NextToken):
    """A likelihood, and another part that counts half."""

    def weights(self, batch):
        return super().weights(batch) | {"size": batch["keep"].sum()}

    def __call__(self, net, batch):
        terms = super().__call__(net, batch)
        return terms | {"size": Term(2 * terms["next_token"].sum, coefficient=0.5)}


@pytest.mark.parametrize("micro_batch", [None, 4])
@pytest.mark.parametrize("count", [5, 32])
def test_the_mean_is_that_of_one_batch(tmp_path, micro_batch, count):
    made = trainer(Case(QWEN3, micro_batch=micro_batch), tmp_path)
    rows = FirstRows(UnevenRows(), count)
    scores = MeanLoss(rows, likelihood="next_token").scores(made)
    batch = {name: torch.from_numpy(value) for name, value in UnevenRows().rows(0, count).items()}
    with torch.no_grad():
        expected = float(made.step.terms(batch)["next_token"].sum / batch["keep"].sum())
    assert scores["loss"] == pytest.approx(expected, rel=1e-6)
    assert scores["perplexity"] == pytest.approx(math.exp(expected), rel=1e-5)
    assert scores["weight"] == {"next_token": int(batch["keep"].sum())}


def test_terms_are_told_apart_and_only_the_likelihood_is_a_perplexity(tmp_path):
    made = trainer(Case(), tmp_path)
    rows = FirstRows(UnevenRows(), 8)
    alone = MeanLoss(rows).scores(made)["loss"]
    made.step.objective = Two()
    scores = MeanLoss(rows, likelihood="next_token").scores(made)
    assert scores["loss"] == pytest.approx(2 * alone)
    assert (scores["next_token"], scores["size"]) == (pytest.approx(alone), pytest.approx(2 * alone))
    assert scores["perplexity"] == pytest.approx(math.exp(alone))


class Labelled:
    def rows(self, first, count):
        numbers = np.arange(first, first + count)
        valid = np.ones((count, 4), dtype=bool)
        return {"tokens": np.repeat(numbers[:, None], 4, 1), "valid": valid, "labels": numbers % 3}


@pytest.mark.parametrize("count", [1, 7, 8, 9])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_rows_without_keep_count_once_and_ranks_stay_in_step(count, ranks):
    cpu = torch.device("cpu")
    each = [list(counted_batches(FirstRows(Labelled(), count), 2, Parallel(rank, ranks), cpu)) for rank in range(ranks)]
    assert len({len(batches) for batches in each}) == 1
    counted = [row for batches in each for batch, counts in batches if counts for row in batch["tokens"][:, 0].tolist()]
    assert sorted(counted) == list(range(count))
    assert all(int(Classes().weights(batch)["classes"]) for batches in each for batch, _ in batches)


def test_rows_with_nothing_supervised_are_an_error(tmp_path):
    made = trainer(Case(), tmp_path)
    with pytest.raises(InputError, match="nothing in the validation rows is supervised for the loss 'next_token'"):
        MeanLoss(FirstRows(UnevenRows(kept=0.0), 3)).scores(made)
