"""Regression losses beside transformers' and torch's own on the same outputs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bedplate.nn.encoder import Encoder
from bedplate.nn.encoder_heads import ClassHead, Transform
from bedplate.objectives.prediction import predicted
from bedplate.objectives.regression import LEAST_LOG_VARIANCE, GaussianLikelihood, SquaredError


@pytest.fixture
def make_net(randomised):
    return lambda numbers: randomised(Encoder(16, 40, [], None, head=ClassHead(numbers, "mean", Transform("tanh"))))


def make_batch(K: int) -> dict[str, torch.Tensor]:
    """Five rows of 3 to 8 tokens."""
    generator = torch.Generator().manual_seed(0)
    return {
        "tokens": torch.randint(0, 40, (5, 8), generator=generator),
        "valid": torch.arange(8)[None] < torch.tensor([3, 8, 5, 8, 4])[:, None],
        "values": torch.randn(5, K, generator=generator),
    }


@pytest.mark.parametrize("K", [1, 3])
def test_squared_error_is_transformers_mean(make_net, K):
    from transformers.loss.loss_utils import ForSequenceClassificationLoss

    class Config:
        problem_type, num_labels = "regression", K

    net, batch, objective = make_net(K), make_batch(K), SquaredError()
    expected = ForSequenceClassificationLoss(batch["values"], predicted(net, batch), Config())
    assert int(objective.weights(batch)["squared_error"]) == 5 * K
    torch.testing.assert_close(objective(net, batch)["squared_error"].sum / (5 * K), expected, rtol=1e-6, atol=0)


def test_gaussian_likelihood_is_that_of_torch(make_net):
    net, batch, objective = make_net(6), make_batch(3), GaussianLikelihood()
    mean, log_variance = predicted(net, batch).chunk(2, dim=-1)
    expected = nn.GaussianNLLLoss(full=True, reduction="sum")(mean, batch["values"], log_variance.exp())
    torch.testing.assert_close(objective(net, batch)["gaussian"].sum, expected, rtol=1e-6, atol=0)
    density = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    torch.testing.assert_close(-density.log_prob(batch["values"]).sum(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("objective", "numbers"), [(SquaredError(), 2), (GaussianLikelihood(), 4)])
def test_parts_unknown_values_and_nothing(make_net, objective, numbers, parts_sum_to_the_whole, counts_for_nothing):
    net, batch = make_net(numbers), make_batch(2)
    (name,) = objective.weights(batch)
    whole = objective(net, batch)[name].sum
    batch["values"][1, 0] = batch["values"][4] = torch.nan
    assert int(objective.weights(batch)[name]) == 7
    some = objective(net, batch)[name].sum
    assert some.isfinite()
    assert some != whole
    parts_sum_to_the_whole(objective, net, batch)
    net.zero_grad()
    counts_for_nothing(objective, net, {**batch, "values": torch.full((5, 2), torch.nan)})


def test_a_head_of_another_width_is_an_error(make_net):
    with pytest.raises(ValueError, match=r"predictions of shape \(5, 1\) for values of shape \(5, 3\)"):
        SquaredError()(make_net(1), make_batch(3))


def test_a_variance_has_an_end():
    """Of a net that is all too sure the likelihood is that of the least spread, and its sureness gets no gradient."""
    batch = make_batch(2)
    log_variance = torch.tensor([-50.0, -13.0], requires_grad=True)

    class Sure(nn.Module):
        def forward(self, tokens, valid):
            return torch.cat([batch["values"] + 1e-3, log_variance.expand(5, 2)], dim=-1)

    loss = GaussianLikelihood()(Sure(), batch)["gaussian"].sum
    spread = torch.tensor([LEAST_LOG_VARIANCE, -13.0]).mul(0.5).exp().expand(5, 2)
    expected = -torch.distributions.Normal(batch["values"] + 1e-3, spread).log_prob(batch["values"]).sum()
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=0)
    loss.backward()
    assert log_variance.grad[0] == 0
    assert log_variance.grad[1] != 0
