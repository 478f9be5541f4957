"""Rotary positions: the property that they are for, and transformers' tables for every way of stretching them."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bedplate.families import llama
from bedplate.families.llama_config import LlamaConfig
from bedplate.nn.attention import AttentionLayer
from bedplate.nn.rope import Rope, RopeScaling, rotate

SCALINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "theta": {"rope_theta": 500000.0},
    "linear": {"rope_type": "linear", "factor": 2.5},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
    "llama3 narrow": {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 2.0,
        "high_freq_factor": 3.0,
        "original_max_position_embeddings": 128,
    },
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
    "yarn, length implied": {"rope_type": "yarn", "factor": 4.0},
    "yarn betas": {
        "rope_type": "yarn",
        "factor": 4.0,
        "beta_fast": 8.0,
        "beta_slow": 2.0,
        "original_max_position_embeddings": 32,
    },
    "yarn not truncated": {
        "rope_type": "yarn",
        "factor": 3.0,
        "truncate": False,
        "original_max_position_embeddings": 32,
    },
    "yarn attention factor": {
        "rope_type": "yarn",
        "factor": 4.0,
        "attention_factor": 0.7,
        "original_max_position_embeddings": 32,
    },
    "longrope": {"rope_type": "longrope", "original_max_position_embeddings": 32},
    "longrope, factors": {
        "rope_type": "longrope",
        "factor": 3.0,
        "attention_factor": 1.2,
        "original_max_position_embeddings": 32,
    },
    "yarn mscale": {
        "rope_type": "yarn",
        "factor": 4.0,
        "mscale": 0.8,
        "mscale_all_dim": 1.2,
        "original_max_position_embeddings": 32,
    },
}


def _divisors(name: str, head_dim: int) -> dict[str, Any]:
    """longrope's two lists, one number for each frequency."""
    if "longrope" not in name:
        return {}
    each = range(head_dim // 2)
    return {"short_factor": [1 + i / 10 for i in each], "long_factor": [1.5 + i for i in each]}


@pytest.mark.parametrize("head_dim", [8, 10, 64])
@pytest.mark.parametrize("length", [20, 100])
@pytest.mark.parametrize("name", SCALINGS)
def test_tables_equal_transformers(name: str, length: int, head_dim: int) -> None:
    from transformers.models.llama.configuration_llama import LlamaConfig as TheirConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    shape = {"hidden_size": 48, "num_attention_heads": 4, "num_hidden_layers": 1, "intermediate_size": 8}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = TheirConfig(
            **shape,
            head_dim=head_dim,
            max_position_embeddings=64,
            rope_parameters={"rope_theta": 10000.0, "rope_type": "default"}
            | SCALINGS[name]
            | _divisors(name, head_dim),
        )
    positions = torch.stack([torch.arange(length), torch.arange(length).flip(0)])
    with torch.no_grad():
        theirs = LlamaRotaryEmbedding(config)(torch.zeros(1), positions)
    net = llama.build(LlamaConfig.from_hf(config.to_dict()))
    (attention,) = (m for m in net.modules() if isinstance(m, AttentionLayer))
    assert attention.position is not None
    for ours, expected in zip(attention.position.tables(positions, torch.float32), theirs, strict=True):
        # Theirs says every angle twice, once for each half. Angles up to 100 in fp32 are 4e-6 apart; the frequencies
        # themselves may differ in the last bit, 100 * 6e-8.
        torch.testing.assert_close(torch.cat((ours, ours), -1)[:, 0], expected, rtol=0, atol=2e-5)


def test_rotation_equals_transformers() -> None:
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    x, y = torch.randn(2, 3, 9, 10), torch.randn(2, 1, 9, 10)
    cos, sin = Rope(10).tables(torch.arange(9)[None], torch.float32)
    twice = [torch.cat((t, t), -1)[:, 0] for t in (cos, sin)]
    turned = rotate(x, (cos, sin)), rotate(y, (cos, sin))
    for ours, theirs in zip(turned, apply_rotary_pos_emb(x, y, *twice), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 300), st.sampled_from([2, 6, 16]))
def test_scores_depend_on_the_distance_alone(m: int, n: int, shift: int, head_dim: int) -> None:
    g = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, 1, 1, head_dim, generator=g, dtype=torch.float64) for _ in range(2))
    rope = Rope(head_dim, 100.0)

    def turned(x: Tensor, position: int) -> Tensor:
        return rotate(x, rope.tables(torch.tensor([[position]]), torch.float64))

    here = (turned(q, m) * turned(k, n)).sum()
    there = (turned(q, m + shift) * turned(k, n + shift)).sum()
    # Tables are made in fp32: an angle of up to 800 is exact to 3e-5.
    assert abs(here - there) < 1e-3
    assert torch.isclose(turned(q, m).norm(), q.norm(), rtol=1e-5)
    assert torch.equal(turned(q, 0), q)


def test_the_gradient_is_the_rotation_back() -> None:
    x = torch.randn(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    tables = Rope(6).tables(torch.arange(5)[None] * 7, torch.float64)
    assert torch.autograd.gradcheck(lambda t: rotate(t, tables), x)
    y = rotate(x, tables)
    (back,) = torch.autograd.grad(y, x, y.detach())
    torch.testing.assert_close(back, x.detach(), rtol=1e-6, atol=1e-6)


def test_dynamic_stretches_only_beyond_the_length() -> None:
    rope, plain = Rope(8, scaling=RopeScaling("dynamic", 2.0, 16)), Rope(8)
    within, beyond = torch.arange(16)[None], torch.arange(17)[None]
    assert torch.equal(rope.tables(within, torch.float32)[0], plain.tables(within, torch.float32)[0])
    assert not torch.equal(rope.tables(beyond, torch.float32)[0], plain.tables(beyond, torch.float32)[0])


def test_tables_are_made_in_fp32_and_cast() -> None:
    positions = torch.tensor([[4097]])
    cos, _ = Rope(4, 1.0001).tables(positions, torch.bfloat16)
    assert cos.dtype == torch.bfloat16
    # bf16 can't hold 4097: an angle made in it would be off by 1.
    torch.testing.assert_close(cos[0, 0, 0, 0].float(), torch.tensor(4097.0).cos(), rtol=1e-2, atol=1e-2)
