"""Latent attention: transformers' own module, the cache that keeps latents, and the two ways of computing with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DeepseekV3Config
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3Attention, DeepseekV3RotaryEmbedding

from bedplate.deltas.lora import LoraLinear
from bedplate.nn.context import Context
from bedplate.nn.decoder import Decoder
from bedplate.nn.initialise import initialise
from bedplate.nn.latent_attention import LatentAttention, LatentAttentionLayer
from bedplate.nn.mask import Mask
from bedplate.nn.norm import RMSNorm
from bedplate.nn.parameters import parameter_table
from bedplate.nn.residual import Block, Residual
from bedplate.nn.rope import Rope

WIDTH, LENGTH = 32, 30
PLAIN = LatentAttention(4, 10, 6, 7, Rope(4), RMSNorm(1e-6), q_rank=14, interleaved=True)
VARIANTS = {
    "plain": PLAIN,
    "straight queries, halves, biases": replace(PLAIN, q_rank=None, interleaved=False, bias=True),
    "odd": replace(PLAIN, heads=3, kv_rank=24, nope_dim=5, value_dim=3, scale=0.2, position=Rope(8, 500.0)),
}
# fp32: products of other shapes round elsewhere; states are of size 1 and three layers add up.
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 3e-5}


@pytest.fixture(params=VARIANTS)
def record(request: pytest.FixtureRequest) -> LatentAttention:
    return VARIANTS[request.param]


@pytest.fixture
def decoder(record: LatentAttention) -> Decoder:
    norm = RMSNorm()
    return randomised(Decoder(WIDTH, 97, [Block(Residual(record, pre_norm=norm))] * 3, norm, tied=False))


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(0, 97, (3, LENGTH), generator=torch.Generator().manual_seed(0))


def randomised(net: Decoder) -> Decoder:
    initialise(net, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            # Large enough for attention to be far from uniform.
            parameter += torch.randn(parameter.shape, generator=generator) * 0.2
    return net


def layers(net: Decoder) -> list[LatentAttentionLayer]:
    return [m for m in net.modules() if isinstance(m, LatentAttentionLayer)]


def test_equals_the_module_of_transformers(record: LatentAttention) -> None:
    config = DeepseekV3Config(
        hidden_size=WIDTH, num_attention_heads=record.heads, num_key_value_heads=record.heads,
        kv_lora_rank=record.kv_rank, q_lora_rank=record.q_rank, qk_nope_head_dim=record.nope_dim,
        qk_rope_head_dim=record.position.head_dim, v_head_dim=record.value_dim, attention_bias=record.bias,
        rope_interleave=record.interleaved, rope_theta=record.position.theta, attn_implementation="eager",
    )  # fmt: skip
    theirs, ours = DeepseekV3Attention(config, 0), record.build(WIDTH)
    theirs.scaling, ours.rope = ours.scale, 0
    names = {"q_a": "q_a_proj", "q_norm": "q_a_layernorm", "q_b": "q_b_proj" if record.q_rank else "q_proj"}
    names |= {"kv_a": "kv_a_proj_with_mqa", "kv_norm": "kv_a_layernorm", "kv_b": "kv_b_proj", "o": "o_proj"}
    found, generator = dict(theirs.named_parameters()), torch.Generator().manual_seed(0)
    mine = dict(ours.named_parameters())
    assert len(mine) == len(found)
    with torch.no_grad():
        for name, parameter in mine.items():
            part, _, kind = name.partition(".")
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
            found[f"{names[part]}.{kind}"].copy_(parameter)
    x = torch.randn(2, LENGTH, WIDTH, generator=generator)
    positions = torch.arange(LENGTH)[None].expand(2, -1)
    mask = Mask().lower(LENGTH, LENGTH, x.device, x.dtype)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    cos_sin = DeepseekV3RotaryEmbedding(config)(x, positions)
    expected, _ = theirs(inputs[0], position_embeddings=cos_sin, attention_mask=mask.bias)
    context = Context(rotary={0: record.position.tables(positions, x.dtype)}, masks={None: mask})
    got = ours(inputs[1], context)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    upstream = torch.randn(got.shape, generator=generator)
    expected.backward(upstream)
    got.backward(upstream)
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, rtol=1e-4, atol=1e-4)
    for name, parameter in mine.items():
        part, _, kind = name.partition(".")
        wanted = found[f"{names[part]}.{kind}"].grad
        assert parameter.grad is not None
        assert wanted is not None
        assert (parameter.grad - wanted).norm() <= 1e-4 * wanted.norm(), name


@pytest.mark.parametrize("pieces", [[1] * LENGTH, [11, 1, 1, 7, 1, 9], [LENGTH]], ids=["tokens", "chunks", "whole"])
@torch.no_grad()
def test_pieces_equal_the_whole(decoder: Decoder, tokens: Tensor, pieces: list[int]) -> None:
    whole = decoder(tokens)
    cache = decoder.new_cache(8)
    out = [decoder(piece, cache=cache) for piece in tokens.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(out, dim=1), whole, **CLOSE)


@pytest.mark.parametrize("pieces", [[LENGTH], [17] + [1] * 13])
@torch.no_grad()
def test_left_padded_rows_equal_rows_alone(decoder: Decoder, tokens: Tensor, pieces: list[int]) -> None:
    starts = torch.tensor([0, 9, 16])
    valid = torch.arange(LENGTH) >= starts[:, None]
    positions = (torch.arange(LENGTH) - starts[:, None]).clamp(min=0)
    cache = decoder.new_cache(LENGTH)
    out, a = [], 0
    for n in pieces:
        b = a + n
        out.append(decoder(tokens[:, a:b], positions=positions[:, a:b], mask=Mask(valid=valid[:, :b]), cache=cache))
        a = b
    batch = torch.cat(out, dim=1)
    for row, start in enumerate(starts.tolist()):
        torch.testing.assert_close(batch[row, start:], decoder(tokens[row : row + 1, start:])[0], **CLOSE)
    assert batch.isfinite().all()


@pytest.mark.parametrize("absorbs", [True, False])
@torch.no_grad()
def test_both_ways_of_computing_are_one(
    decoder: Decoder, tokens: Tensor, monkeypatch: pytest.MonkeyPatch, absorbs: bool
) -> None:
    whole = decoder(tokens)
    monkeypatch.setattr(LatentAttentionLayer, "_absorbs", lambda *_: absorbs)
    cache = decoder.new_cache(LENGTH)
    out = [decoder(piece, cache=cache) for piece in tokens.split([13, 1, 9, 7], dim=1)]
    torch.testing.assert_close(torch.cat(out, dim=1), whole, **CLOSE)


@torch.no_grad()
def test_the_cache_keeps_the_latent_and_the_rotated_key_alone(decoder: Decoder, tokens: Tensor) -> None:
    cache = decoder.new_cache(LENGTH)
    decoder(tokens, cache=cache)
    layer = layers(decoder)[0]
    width = layer.kv_rank + layer.rope_dim
    kept = [tensor for block in cache._blocks for tensor in block or ()]
    assert [tuple(t.shape) for t in kept] == [(3, 1, LENGTH, width)] * 3
    assert decoder.cache_width == 3 * width


def test_few_queries_are_brought_to_the_latents_and_many_are_not() -> None:
    """In the sizes of DeepSeek-V3, of which one head tells as much as all."""
    with torch.device("meta"):
        layer = LatentAttention(1, 512, 128, 128, Rope(64), RMSNorm(), 1536).build(7168)
    assert layer._absorbs(1, 4096)
    assert layer._absorbs(64, 4096)
    assert not layer._absorbs(512, 4096)
    assert not layer._absorbs(4096, 4096)
    assert not layer._absorbs(64, 64)


@torch.no_grad()
def test_a_map_with_a_delta_is_not_passed_by(decoder: Decoder, tokens: Tensor) -> None:
    for layer in layers(decoder):
        layer.kv_b = LoraLinear(layer.kv_b, rank=2, scale=1.0)
        torch.nn.init.normal_(layer.kv_b.lora_a, generator=torch.Generator().manual_seed(2))
        torch.nn.init.normal_(layer.kv_b.lora_b, std=0.2, generator=torch.Generator().manual_seed(3))
    whole = decoder(tokens)
    cache = decoder.new_cache(LENGTH)
    out = [decoder(piece, cache=cache) for piece in tokens.split([20] + [1] * 10, dim=1)]
    torch.testing.assert_close(torch.cat(out, dim=1), whole, **CLOSE)


@torch.no_grad()
def test_half_precision(decoder: Decoder, tokens: Tensor) -> None:
    whole = decoder(tokens)
    decoder.compute_dtype = torch.bfloat16
    cache = decoder.new_cache(LENGTH)
    out = [decoder(piece, cache=cache) for piece in tokens.split([20] + [1] * 10, dim=1)]
    # bf16 rounds by 2^-9 in each of a dozen steps a layer.
    assert (torch.cat(out, dim=1).float() - whole).norm() < 0.05 * whole.norm()


def test_every_parameter_is_described(decoder: Decoder) -> None:
    table = parameter_table(decoder)
    cut = {name.split(".")[-2]: info.shard for name, info in table.items() if info.shard is not None}
    assert cut == {"q_b": 0, "kv_b": 0, "o": 1}
    own = {n: i for n, i in table.items() if n.startswith("blocks.0.0.sublayer.")}
    parts = {name.split(".")[-2] for name, info in own.items() if info.partial_gradient}
    assert parts == {"q_a", "q_norm", "kv_a", "kv_norm"} & {name.split(".")[-2] for name in own}
