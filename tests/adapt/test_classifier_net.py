"""The head of classes fits the states of every kind of body."""

from __future__ import annotations

import pytest
import torch

from bedplate.adapt.tuning.classifier_net import ClassifierNet
from bedplate.families import albert, gpt2
from bedplate.families.albert_config import AlbertConfig
from bedplate.families.gpt2_config import GPT2Config
from bedplate.nn.initialise import initialise
from bedplate.scaling.tuning_flops import net_flops

SHAPE = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64}


@pytest.mark.parametrize("narrow", [True, False])
def test_the_head_is_as_wide_as_the_states(narrow: bool) -> None:
    """ALBERT's embedding is narrower than its states."""
    if narrow:
        config = AlbertConfig(**SHAPE, intermediate_size=64, embedding_size=16, head="masked")
        net = ClassifierNet(albert.build(config), "mean", 3)
    else:
        net = ClassifierNet(gpt2.build(GPT2Config(**SHAPE)), "last", 3)
    initialise(net.body, 0)
    assert net.head_weight.shape == (3, 48)
    tokens = torch.randint(0, 64, (2, 8))
    assert net(tokens, torch.ones(2, 8, dtype=torch.bool)).shape == (2, 3)
    flops = net_flops(net, "row")
    # Everything is trained: each matrix forward, back and for itself.
    assert flops.training.place == 3 * flops.forward.place
