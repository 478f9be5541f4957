"""The encoder's laws: it sees both ways and no padding, packed texts stay apart, and every parameter is described."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bedplate.nn.attend import QUERY_BLOCK, attend, reference_attention
from bedplate.nn.attention import Attention
from bedplate.nn.context import Context
from bedplate.nn.encoder import Encoder
from bedplate.nn.feedforward import FeedForward
from bedplate.nn.initialise import initialise
from bedplate.nn.mask import Mask
from bedplate.nn.norm import LayerNorm
from bedplate.nn.parameters import parameter_table
from bedplate.nn.products import linear
from bedplate.nn.residual import Block, Residual
from bedplate.nn.stack import Embeddings


def encoder(*, token_types: int = 2, layers: int = 2) -> Encoder:
    """A small one with all its parameters random, gains and biases too."""
    norm = LayerNorm(1e-12)
    attention = Attention(heads=3, kv_heads=3, head_dim=7, bias=True, out_bias=True)
    block = Block(Residual(attention, out_norm=norm), Residual(FeedForward(40), out_norm=norm))
    net = Encoder(21, Embeddings(50, 32, token_types=token_types, norm=norm), [block] * layers, None)
    initialise(net, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += torch.randn(parameter.shape, generator=generator) * 0.2
    return net


def tokens(rows: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 50, (rows, length), generator=torch.Generator().manual_seed(seed))


def test_every_position_sees_every_other():
    net = encoder()
    embedded: list[Tensor] = []
    net.embed.register_forward_hook(lambda *a: embedded.append(a[-1]) or a[-1].requires_grad_())
    hidden = net(tokens(1, 9))
    for position in (0, 4, 8):
        (reach,) = torch.autograd.grad(hidden[0, position, 0], embedded[0], retain_graph=True)
        assert bool((reach[0].abs().amax(-1) > 0).all())


@given(st.lists(st.integers(1, 32), min_size=1, max_size=5), st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_padded_row_is_the_row_alone(lengths: list[int], gradients: bool):
    """To a few units of fp32's last place: sums run in another order. Both ways of attending are meant."""
    net, longest = encoder(), max(lengths)
    batch = tokens(len(lengths), longest)
    valid = torch.arange(longest) < torch.tensor(lengths)[:, None]
    with torch.set_grad_enabled(gradients):
        together = net(batch, valid=valid)
        assert bool(together.isfinite().all())
        for row, length in enumerate(lengths):
            alone = net(batch[row : row + 1, :length])
            torch.testing.assert_close(together[row, :length], alone[0], rtol=1e-4, atol=2e-5)


def test_packed_texts_are_the_texts_alone():
    net, lengths = encoder(), (5, 1, 12, 7)
    texts = [tokens(1, n, seed=n) for n in lengths]
    segments = torch.cat([torch.full((n,), i) for i, n in enumerate(lengths)])[None]
    positions = torch.cat([torch.arange(n) for n in lengths])[None]
    packed = net(torch.cat(texts, 1), segments=segments, positions=positions)
    for text, part in zip(texts, packed[0].split(lengths), strict=True):
        torch.testing.assert_close(part, net(text)[0], rtol=1e-4, atol=2e-5)


def test_token_types_are_zero_unless_said():
    net, batch = encoder(), tokens(2, 6)
    assert torch.equal(net(batch), net(batch, token_types=torch.zeros_like(batch)))
    assert not torch.allclose(net(batch), net(batch, token_types=torch.ones_like(batch)))
    assert "embed_type.weight" not in dict(encoder(token_types=0).named_parameters())


def test_every_parameter_is_described_initialised_and_trained():
    net = encoder()
    table = parameter_table(net)
    assert table.keys() == dict(net.named_parameters()).keys()
    assert {table[n].role for n in ("embed.weight", "embed_position.weight", "embed_type.weight")} == {"embedding"}
    initialise(net, 3)
    assert torch.equal(net.blocks[0][0].out_norm.weight, torch.ones(21))
    assert net.blocks[1][1].sublayer.down.weight.std().item() == pytest.approx(1 / 40**0.5 / 4**0.5, rel=0.1)
    net(tokens(4, 32), token_types=tokens(4, 32) % 2).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        # A bias on keys adds the same to all scores of a query, so it changes nothing.
        assert bool((parameter.grad != 0).any()) or name.endswith(".k.bias"), name


def test_fp32_parameters_under_bf16_activations():
    net, batch = encoder(), tokens(2, 20)
    exact = net(batch)
    net.compute_dtype = torch.bfloat16
    rounded = net(batch)
    assert rounded.dtype == torch.bfloat16
    assert F.cosine_similarity(rounded.float(), exact, dim=-1).min() > 0.998  # 8 bits, a few layers
    rounded.float().sum().backward()
    assert net.embed.weight.grad is not None
    assert net.embed.weight.grad.dtype == torch.float32


def test_blocks_compile():
    """Each block traces into one graph (what the compiler makes of it is the compiler's)."""
    net, batch = encoder(), tokens(2, 8)
    exact = net(batch)
    for i, block in enumerate(net.blocks):
        net.blocks[i] = torch.compile(block, fullgraph=True, backend="eager")  # type: ignore[assignment]
    torch.testing.assert_close(net(batch), exact)


class Wrapped(nn.Module):
    """A sublayer that adds one."""

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return x + 1


class AddOne:
    def build(self, width: int) -> nn.Module:
        return Wrapped()


def test_out_norm_is_after_the_addition():
    x = torch.randn(2, 3, 8)
    layer = Residual(AddOne(), out_norm=LayerNorm(1e-6)).build(8)
    assert torch.equal(layer(x, Context()), F.layer_norm(x + (x + 1), (8,), eps=1e-6))
    four = Residual(AddOne(), pre_norm=LayerNorm(1e-6), post_norm=LayerNorm(1e-6), out_norm=LayerNorm(1e-6)).build(8)
    inner = F.layer_norm(F.layer_norm(x, (8,), eps=1e-6) + 1, (8,), eps=1e-6)
    assert torch.equal(four(x, Context()), F.layer_norm(x + inner, (8,), eps=1e-6))


@pytest.mark.parametrize(
    ("record", "function"), [(FeedForward(20, "relu"), nn.ReLU()), (FeedForward(20, "silu"), nn.SiLU())]
)
def test_two_maps_with_a_function_between(record, function):
    ours = record.build(32)
    theirs = nn.Sequential(nn.Linear(32, 20), function, nn.Linear(20, 32))
    ours.load_state_dict(
        {f"{a}.{p}": theirs[i].get_parameter(p) for a, i in (("up", 0), ("down", 2)) for p in ("weight", "bias")}
    )
    x = torch.randn(3, 32)
    torch.testing.assert_close(ours(x, Context()), theirs(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("length", [1, 30, QUERY_BLOCK + 5])
def test_attention_both_ways_against_the_definition(dtype, gradients, length):
    """Masks of padding alone are lowered to one row; every kernel has to read it so."""
    q, k, v = (torch.randn(3, 4, length, 8, generator=torch.Generator().manual_seed(i)).to(dtype) for i in range(3))
    valid = torch.arange(length) < torch.tensor([length, max(1, length // 2), 1])[:, None]
    mask = Mask(causal=False, valid=valid)
    lowered = mask.lower(length, length, q.device, dtype)
    assert lowered.bias is not None
    assert lowered.bias.shape == (3, 1, 1, length)
    with torch.set_grad_enabled(gradients):
        found = attend(q, k, v, lowered, 0.3)
    # bf16: scores and probabilities are rounded to 8 bits.
    close = {torch.float32: 2e-6, torch.bfloat16: 2e-2}[dtype]
    torch.testing.assert_close(found.float(), reference_attention(q, k, v, mask, 0.3), rtol=0, atol=close)


@given(
    st.lists(st.integers(1, 5), max_size=2), st.integers(1, 70), st.integers(1, 90), st.integers(1, 90), st.booleans()
)
@settings(max_examples=60, deadline=None)
def test_products_against_double_precision(shape, rows, inner, outer, biased):
    """Sums of `inner` products, each off by at most 2^-24 of its partial sum."""
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(*shape, rows, inner, generator=generator)
    weight = torch.randn(outer, inner, generator=generator)
    bias = torch.randn(outer, generator=generator) if biased else None
    exact = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    with torch.no_grad():
        fast = linear(x, weight, bias)
    assert fast.shape == exact.shape
    torch.testing.assert_close(fast.double(), exact, rtol=1e-5, atol=inner * 2**-21)
    with torch.enable_grad():
        torch.testing.assert_close(linear(x, weight.requires_grad_(), bias), fast, rtol=1e-5, atol=inner * 2**-21)


def test_products_of_parts_and_transposes():
    """Weights and inputs that aren't contiguous, and no rows at all."""
    x, weight = torch.randn(64, 3, 40).transpose(0, 1), torch.randn(24, 50).T[:40].T
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight, None), x @ weight.T, rtol=1e-5, atol=1e-5)
        assert linear(torch.randn(0, 40), weight, None).shape == (0, 24)
