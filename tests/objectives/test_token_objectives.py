"""Losses of each token's class, and of whether it was replaced, beside transformers' own on the same outputs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bedplate.nn.attention import Attention
from bedplate.nn.encoder import Encoder
from bedplate.nn.encoder_heads import ClassHead
from bedplate.nn.norm import LayerNorm
from bedplate.nn.residual import Block, Residual
from bedplate.objectives.classification import NO_CLASS
from bedplate.objectives.prediction import predicted
from bedplate.objectives.replaced_tokens import ReplacedTokens
from bedplate.objectives.token_classification import TokenClasses

CLASSES = 5


@pytest.fixture
def make_net(randomised):
    def make(classes: int) -> Encoder:
        block = Block(Residual(Attention(4, 4, 6), pre_norm=LayerNorm(1e-5)))
        return randomised(Encoder(24, 40, [block], None, head=ClassHead(classes, None)))

    return make


@pytest.fixture
def batch():
    """Four rows of 3 to 9 tokens."""
    generator = torch.Generator().manual_seed(0)
    valid = torch.arange(9)[None] < torch.tensor([3, 9, 5, 7])[:, None]
    labels = torch.randint(0, CLASSES, (4, 9), generator=generator)
    labels[~valid | (torch.rand((4, 9), generator=generator) < 0.3)] = NO_CLASS
    return {
        "tokens": torch.randint(0, 40, (4, 9), generator=generator),
        "valid": valid,
        "labels": labels,
        "targets": torch.randint(0, 2, (4, 9), generator=generator),
    }


def test_token_classes_are_transformers_mean(make_net, batch):
    from transformers.loss.loss_utils import ForTokenClassification

    class Config:
        num_labels = CLASSES

    net, objective = make_net(CLASSES), TokenClasses()
    expected = ForTokenClassification(predicted(net, batch), batch["labels"], Config())
    weight = objective.weights(batch)["token_classes"]
    assert int(weight) == int((batch["labels"] >= 0).sum())
    torch.testing.assert_close(objective(net, batch)["token_classes"].sum / weight, expected, rtol=1e-6, atol=0)


def test_token_classes_parts_and_nothing(make_net, batch, parts_sum_to_the_whole, counts_for_nothing):
    net = make_net(CLASSES)
    parts_sum_to_the_whole(TokenClasses(), net, batch)
    counts_for_nothing(TokenClasses(), net, {**batch, "labels": torch.full((4, 9), NO_CLASS)})


class Elsewhere(nn.Module):
    """Scores that were computed elsewhere."""

    def __init__(self, scores):
        super().__init__()
        self.scores = nn.Parameter(scores)

    def forward(self, tokens, valid):
        return self.scores[..., None]


def test_replaced_tokens_are_electras_mean(batch):
    from transformers import ElectraConfig, ElectraForPreTraining

    torch.manual_seed(0)
    config = ElectraConfig(
        vocab_size=40, embedding_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    theirs = ElectraForPreTraining(config)
    batch["targets"] = batch["tokens"].where(batch["targets"].bool(), batch["targets"])
    labels = (batch["tokens"] != batch["targets"]).long()
    out = theirs(batch["tokens"], attention_mask=batch["valid"].long(), labels=labels)
    objective = ReplacedTokens()
    found = objective(Elsewhere(out.logits.detach()), batch)["replaced_tokens"].sum
    torch.testing.assert_close(
        found / objective.weights(batch)["replaced_tokens"], out.loss.detach(), rtol=1e-6, atol=0
    )


def test_replaced_tokens_parts_and_nothing(make_net, batch, parts_sum_to_the_whole, counts_for_nothing):
    net = make_net(1)
    parts_sum_to_the_whole(ReplacedTokens(), net, batch)
    counts_for_nothing(ReplacedTokens(), net, {**batch, "valid": torch.zeros_like(batch["valid"])})
