"""The classification loss beside the plain definition and transformers' own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bedplate.objectives.classification import NO_CLASS, Classes

CLASSES = 7


class Net(nn.Module):
    """Mean of embeddings over valid places, and a head."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(40, 12), nn.Linear(12, CLASSES)

    def forward(self, tokens, valid):
        kept = self.embed(tokens) * valid[..., None]
        return self.head(kept.sum(1) / valid.sum(1, keepdim=True))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def batch():
    """Six rows of 3 to 8 tokens."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([3, 8, 5, 8, 4, 6])
    return {
        "tokens": torch.randint(0, 40, (6, 8), generator=generator),
        "valid": torch.arange(8)[None] < lengths[:, None],
        "labels": torch.randint(0, CLASSES, (6,), generator=generator),
    }


def test_it_is_the_definition(net, batch):
    log_p = net(batch["tokens"], batch["valid"]).log_softmax(-1)
    expected = -log_p[torch.arange(6), batch["labels"]].sum()
    terms, weights = Classes()(net, batch), Classes().weights(batch)
    assert list(terms) == list(weights) == ["classes"]
    assert int(weights["classes"]) == 6
    torch.testing.assert_close(terms["classes"].sum, expected, rtol=1e-6, atol=0)


def test_it_is_transformers_mean(net, batch):
    from transformers.loss.loss_utils import ForSequenceClassificationLoss

    class Config:
        problem_type, num_labels = "single_label_classification", CLASSES

    logits = net(batch["tokens"], batch["valid"])
    expected = ForSequenceClassificationLoss(batch["labels"], logits, Config())
    found = Classes()(net, batch)["classes"].sum / Classes().weights(batch)["classes"]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_parts_sum_to_the_whole_and_fillers_to_nothing(net, batch):
    parts = [Classes()(net, {k: v[a : a + 2] for k, v in batch.items()})["classes"].sum for a in (0, 2, 4)]
    torch.testing.assert_close(sum(parts), Classes()(net, batch)["classes"].sum, rtol=1e-6, atol=0)
    nothing = {**batch, "labels": torch.full((6,), NO_CLASS)}
    assert int(Classes().weights(nothing)["classes"]) == 0
    loss = Classes()(net, nothing)["classes"].sum
    loss.backward()
    assert loss.item() == 0
    assert not net.head.weight.grad.any()


def test_logits_in_bfloat16_are_summed_in_float32(net, batch):
    net.bfloat16()
    batch = {**batch, "valid": batch["valid"].bfloat16()}
    loss = Classes()(net, batch)["classes"].sum
    assert loss.dtype == torch.float32
    logits = net(batch["tokens"], batch["valid"]).float()
    torch.testing.assert_close(loss, F.cross_entropy(logits, batch["labels"], reduction="sum"))
