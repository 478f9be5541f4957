"""InfoNCE beside sentence-transformers' losses, values and gradients."""

from __future__ import annotations

import pytest
import torch

from bedplate.errors import RecipeError
from bedplate.objectives.contrastive import InfoNCE


class Lookup(torch.nn.Module):
    """A net whose vectors are a table's rows, by the first token."""

    def __init__(self, learnt=None):
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(24, 8, generator=torch.Generator().manual_seed(0)))
        self.log_scale = None if learnt is None else torch.nn.Parameter(torch.tensor([learnt]).log())

    def forward(self, tokens, valid):
        return self.table[tokens[:, 0]]


BATCH = {
    "tokens": torch.arange(12)[:, None],
    "valid": torch.ones(12, 1, dtype=torch.bool),
    "pair_tokens": torch.arange(12, 24)[:, None],
    "pair_valid": torch.ones(12, 1, dtype=torch.bool),
}


def ours(net, objective):
    terms, weights = objective(net, BATCH), objective.weights(BATCH)
    return terms["contrastive"].sum / weights["contrastive"]


@pytest.mark.parametrize("both_ways", [False, True])
def test_equal_to_sentence_transformers(both_ways):
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    ways = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"} if both_ways else {}
    net = Lookup()
    loss = ours(net, InfoNCE(0.05, both_ways=both_ways))
    loss.backward()
    found = net.table.grad.clone()
    net.table.grad = None
    reference = MultipleNegativesRankingLoss(model=None, scale=20.0, **ways)
    theirs = reference.compute_loss_from_embeddings([net.table[:12], net.table[12:]], None)
    theirs.backward()
    assert float(loss.detach()) == pytest.approx(float(theirs.detach()), rel=1e-6)
    assert (found - net.table.grad).norm() <= 1e-6 * net.table.grad.norm()


def test_a_learnt_scale_has_the_gradient_of_the_temperature():
    net = Lookup(20.0)
    loss = ours(net, InfoNCE(both_ways=True))
    assert float(loss.detach()) == pytest.approx(
        float(ours(Lookup(), InfoNCE(0.05, both_ways=True)).detach()), rel=1e-6
    )
    loss.backward()
    with torch.no_grad():
        up, down = (
            ours(Lookup(), InfoNCE(1 / (20.0 * torch.tensor(e).double().exp().item()), both_ways=True)).double()
            for e in (1e-2, -1e-2)
        )
    assert float(net.log_scale.grad) == pytest.approx(float((up - down) / 2e-2), rel=1e-3)


def test_a_temperature_that_is_none_is_refused():
    with pytest.raises(RecipeError, match="temperature of 0"):
        InfoNCE(0.0)
