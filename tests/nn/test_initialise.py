"""Initial values depend on a parameter's name and the seed, and on nothing else."""

from __future__ import annotations

import math

import pytest
import torch

from bedplate.families import llama
from bedplate.families.llama_config import LlamaConfig
from bedplate.nn.initialise import EMBEDDING_STD, initialise

SHAPE = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 512,
}  # fmt: skip
QWEN3 = {"model_type": "qwen3", "qk_norm": True, "qkv_bias": True, "out_bias": True}


def values(seed=0, shape=SHAPE, reverse=False):
    net = llama.build(LlamaConfig(**shape))
    if reverse:
        for module in list(net.modules()):
            for name in reversed(list(module._modules)):
                module._modules[name] = module._modules.pop(name)
            for name in reversed(list(module._parameters)):
                module._parameters[name] = module._parameters.pop(name)
    initialise(net, seed)
    return {name: p.detach().clone() for name, p in net.named_parameters()}


def test_the_same_for_the_same_seed_whatever_else_is_drawn():
    first = values()
    torch.manual_seed(123)
    before = torch.get_rng_state()
    again = values()
    assert torch.equal(torch.get_rng_state(), before), "the global generator is left alone"
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_independent_of_the_order_of_parameters():
    first, reversed_ = values(shape=SHAPE | QWEN3), values(shape=SHAPE | QWEN3, reverse=True)
    assert list(first) != list(reversed_)
    assert all(torch.equal(first[name], reversed_[name]) for name in first)


def test_every_matrix_and_every_seed_has_its_own():
    first, other = values(0), values(1)
    matrices = [name for name, value in first.items() if value.ndim == 2]
    assert not any(torch.equal(first[name], other[name]) for name in matrices)
    drawn = [first[name].flatten()[:8] for name in matrices]
    scaled = [tuple((d / d.norm()).tolist()) for d in drawn]
    assert len(set(scaled)) == len(matrices)


def test_a_tied_head_takes_nothing_from_the_others():
    untied, tied = values(), values(shape=SHAPE | {"tie_word_embeddings": True})
    assert set(untied) - set(tied) == {"head.weight"}
    assert all(torch.equal(untied[name], tied[name]) for name in tied)


@pytest.mark.parametrize(
    ("name", "std"),
    [
        ("embed.weight", EMBEDDING_STD),
        ("head.weight", EMBEDDING_STD),
        ("blocks.0.0.sublayer.q.weight", 1 / math.sqrt(64)),
        ("blocks.3.1.sublayer.up.weight", 1 / math.sqrt(64)),
        # What writes into the residual stream, once for attention and once for the feed-forward of each block.
        ("blocks.0.0.sublayer.o.weight", 1 / math.sqrt(64 * 2 * 4)),
        ("blocks.3.1.sublayer.down.weight", 1 / math.sqrt(96 * 2 * 4)),
    ],
)
def test_spread(name, std):
    value = values()[name]
    # Five standard errors of a sample's deviation and mean.
    assert float(value.std()) == pytest.approx(std, rel=5 / math.sqrt(2 * value.numel()))
    assert abs(float(value.mean())) < 5 * std / math.sqrt(value.numel())


def test_norms_begin_at_one_and_biases_at_zero():
    for name, value in values(shape=SHAPE | QWEN3).items():
        if name.endswith(".bias"):
            assert not value.any(), name
        elif value.ndim == 1:
            assert (value == 1).all(), name
