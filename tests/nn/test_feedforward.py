"""Feed-forward sublayers and the casting Linear against torch's and transformers' modules."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import nn

from bedplate.nn.context import Context
from bedplate.nn.feedforward import FeedForward, SwiGLU
from bedplate.nn.linear import Embedding, Linear


def _random(module: nn.Module) -> nn.Module:
    g = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=g)
    return module


@pytest.mark.parametrize("bias", [False, True])
def test_swiglu_equals_transformers(bias: bool) -> None:
    from transformers.models.llama.configuration_llama import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaMLP

    theirs = _random(LlamaMLP(LlamaConfig(hidden_size=32, intermediate_size=20, mlp_bias=bias)))
    ours = SwiGLU(20, bias).build(32)
    ours.load_state_dict({k.replace("_proj", ""): v for k, v in theirs.state_dict().items()})
    x = torch.randn(2, 5, 32)
    assert torch.equal(ours(x, Context()), theirs(x))


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_equals_torch(approximate: Literal["none", "tanh"]) -> None:
    theirs = _random(nn.Sequential(nn.Linear(32, 20), nn.GELU(approximate), nn.Linear(20, 32)))
    ours = FeedForward(20, "gelu" if approximate == "none" else "gelu_tanh").build(32)
    names = {"0": "up", "2": "down"}
    ours.load_state_dict({f"{names[k[0]]}{k[1:]}": v for k, v in theirs.state_dict().items()})
    x = torch.randn(2, 5, 32)
    assert torch.equal(ours(x, Context()), theirs(x))


def test_linear_keeps_its_dtype_and_computes_in_its_inputs() -> None:
    layer = _random(Linear(6, 4, bias=True))
    x = torch.randn(3, 6).bfloat16()
    y = layer(x)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, nn.functional.linear(x, layer.weight.bfloat16(), layer.bias.bfloat16()))
    y.sum().backward()
    assert layer.weight.grad.dtype == layer.bias.grad.dtype == torch.float32


def test_embedding_takes_rows() -> None:
    layer = _random(Embedding(7, 3))
    tokens = torch.tensor([[1, 6, 1]])
    assert torch.equal(layer(tokens), layer.weight[tokens])
