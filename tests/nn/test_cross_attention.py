"""Cross-attention against its definition, its cache, and encoder-decoders made of it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from bedplate.errors import InternalError
from bedplate.nn.attention import Attention
from bedplate.nn.cache import KVCache
from bedplate.nn.context import Context
from bedplate.nn.cross_attention import CrossAttention, CrossAttentionLayer
from bedplate.nn.decoder import Decoder
from bedplate.nn.encoder import Encoder
from bedplate.nn.encoder_decoder import EncoderDecoder
from bedplate.nn.feedforward import FeedForward
from bedplate.nn.initialise import initialise
from bedplate.nn.mask import Mask
from bedplate.nn.norm import RMSNorm
from bedplate.nn.parameters import parameter_table
from bedplate.nn.relative import RelativeBuckets
from bedplate.nn.residual import Block, Residual

WIDTH, HEADS, HEAD_DIM = 24, 3, 5


def _layer(**changes: object) -> CrossAttentionLayer:
    layer = CrossAttention(HEADS, HEAD_DIM, **changes).build(WIDTH)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    for parameter in layer.parameters():
        parameter.data.normal_(std=0.3, generator=generator)
    return layer


def _states(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, WIDTH, generator=torch.Generator().manual_seed(seed))


VALID = torch.arange(11) < torch.tensor([[11], [4]])


def _context(memory: Tensor | None, valid: Tensor | None, queries: int, cache: KVCache | None = None) -> Context:
    lowered = None
    if valid is not None:
        lowered = Mask(causal=False, valid=valid).lower(queries, valid.shape[1], valid.device, torch.float32)
    return Context(memory=memory, memory_mask=lowered, cache=cache)


def _definition(layer: CrossAttentionLayer, x: Tensor, memory: Tensor, valid: Tensor, scale: float) -> Tensor:
    def heads(y: Tensor) -> Tensor:
        return y.unflatten(-1, (HEADS, HEAD_DIM)).transpose(1, 2)

    scores = heads(layer.q(x)) @ heads(layer.k(memory)).transpose(-1, -2) * scale
    mixed = scores.masked_fill(~valid[:, None, None], -torch.inf).softmax(-1) @ heads(layer.v(memory))
    out: Tensor = layer.o(mixed.transpose(1, 2).flatten(2))
    return out


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("scale", [None, 1.0])
def test_equals_the_definition_forward_and_backward(scale: float | None, grad: bool) -> None:
    layer = _layer(scale=scale, bias=True, out_bias=True)
    x, memory = _states(2, 7).requires_grad_(grad), _states(2, 11, seed=2).requires_grad_(grad)
    expected = _definition(layer, x, memory, VALID, scale or HEAD_DIM**-0.5)
    with torch.set_grad_enabled(grad):
        found = layer(x, _context(memory, VALID, 7))
    assert torch.allclose(found, expected, atol=1e-5)
    if grad:
        wanted = torch.autograd.grad(expected.square().mean(), (x, memory, *layer.parameters()))
        for a, b in zip(
            torch.autograd.grad(found.square().mean(), (x, memory, *layer.parameters())), wanted, strict=True
        ):
            assert (a - b).norm() <= 1e-4 * b.norm() + 1e-6  # of k's bias the true gradient is nothing
        # What is padding has no part in it.
        assert not wanted[1][1, 4:].any()


@torch.no_grad()
def test_keys_are_computed_once_and_kept_by_the_cache() -> None:
    layer = _layer()
    x, memory = _states(2, 7), _states(2, 11, seed=2)
    expected, cache = layer(x, _context(memory, VALID, 7)), KVCache(1, 0)
    first = layer(x[:, :3], _context(memory, VALID, 3, cache))
    # Weights that would give other keys, and no memory: what the cache has is all that is read.
    layer.k.weight.zero_()
    rest = layer(x[:, 3:], _context(None, VALID, 4, cache))
    assert torch.allclose(torch.cat((first, rest), dim=1), expected, atol=1e-5)


@torch.no_grad()
def test_rows_of_a_cache_leave_and_caches_join() -> None:
    layer = _layer()
    x, memory = _states(3, 1), _states(3, 11, seed=2)
    together, short = KVCache(1, 0), KVCache(1, 0)
    layer(x[:2], _context(memory[:2], None, 1, together))
    layer(x[2:], _context(memory[2:, :6], None, 1, short))
    together.select(torch.tensor([1]))
    joined = KVCache.joined([(together, 0), (short, 0)], 4)
    valid = torch.arange(11) < torch.tensor([[11], [6]])
    found = layer(x[1:], _context(None, valid, 1, joined))
    assert torch.allclose(found[:1], layer(x[1:2], _context(memory[1:2], None, 1)), atol=1e-5)
    assert torch.allclose(found[1:], layer(x[2:], _context(memory[2:, :6], None, 1)), atol=1e-5)


def test_neither_memory_nor_cache_is_named() -> None:
    with pytest.raises(InternalError, match="neither its hidden states nor a cache"):
        _layer()(_states(1, 2), Context())


def _net(logit_bias: bool = False) -> EncoderDecoder:
    norm = RMSNorm()
    attention = Residual(Attention(HEADS, HEADS, HEAD_DIM, relative=True), pre_norm=norm)
    cross, feed_forward = Residual(CrossAttention(HEADS, HEAD_DIM), norm), Residual(FeedForward(30), norm)
    buckets = RelativeBuckets(HEADS, 8, 20)
    net = EncoderDecoder(
        Encoder(WIDTH, 50, [Block(attention, feed_forward)] * 2, norm, relative=buckets),
        Decoder(
            WIDTH, 50, [Block(attention, cross, feed_forward)] * 3, norm, tied=True,
            relative=RelativeBuckets(HEADS, 8, 20, two_sided=False), head_scale=WIDTH**-0.5,
        ),
        logit_bias=logit_bias,
    )  # fmt: skip
    initialise(net, seed=0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(4)
    return net.eval()


READ = torch.randint(0, 50, (2, 11), generator=torch.Generator().manual_seed(3))
WRITTEN = torch.randint(0, 50, (2, 9), generator=torch.Generator().manual_seed(4))


@torch.no_grad()
def test_cached_decoding_equals_the_whole() -> None:
    net = _net()
    whole, cache = net(READ, WRITTEN, valid=VALID), net.new_cache(2)
    memory: Tensor | None = net.encode(READ, valid=VALID)
    parts = []
    for part in WRITTEN.split([3, 1, 4, 1], dim=1):
        parts.append(net.decode(part, memory=memory, memory_valid=VALID, cache=cache))
        memory = None
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-5)


@torch.no_grad()
def test_padding_of_what_is_read_changes_nothing() -> None:
    net = _net()
    padded, alone = net(READ, WRITTEN, valid=VALID), net(READ[1:, :4], WRITTEN[1:])
    assert torch.allclose(padded[1:], alone, atol=1e-5)


def test_one_embedding_counted_once_and_every_parameter_described() -> None:
    net = _net(logit_bias=True)
    assert net.decoder.embed is net.encoder.embed
    names = [name for name, _ in net.named_parameters()]
    assert [name for name in names if "embed" in name] == ["encoder.embed.weight"]
    table = parameter_table(net)
    assert set(table) == set(names)
    assert table["logit_bias"].role == "state"
    assert len(net.blocks) == 5
    twin = copy.deepcopy(net)
    assert twin.decoder.embed is twin.encoder.embed


def test_the_bias_of_logits_is_added_and_not_trained() -> None:
    net = _net(logit_bias=True)
    assert net.logit_bias is not None
    net.logit_bias.data.normal_(generator=torch.Generator().manual_seed(5))
    hidden = net(READ, WRITTEN)
    logits = net.readout.logits(net.head_states(hidden))
    assert torch.allclose(logits - net.logit_bias, net.decoder.readout.logits(hidden), atol=1e-5)
    logits.sum().backward()
    assert net.logit_bias.grad is None


def test_a_tied_and_scaled_head_starts_with_logits_of_the_usual_size() -> None:
    net = _net()
    initialise(net, seed=0)
    # 0.02 / head_scale; 1,200 numbers tell their spread to 2%.
    assert net.embed.weight.std().item() == pytest.approx(0.02 * WIDTH**0.5, rel=0.1)
    assert net.decoder.relative is not None
    assert net.decoder.relative.weight.std().item() < 0.04


def test_the_compute_dtype_is_both_stacks() -> None:
    net = _net()
    net.compute_dtype = torch.bfloat16
    assert net(READ, WRITTEN, valid=VALID).dtype == net.encode(READ).dtype == net.compute_dtype == torch.bfloat16


def test_two_sizes_of_one_embedding_are_refused() -> None:
    block = Block(Residual(FeedForward(8)))
    with pytest.raises(ValueError, match="two sizes"):
        EncoderDecoder(Encoder(8, 50, [block], None), Decoder(8, 51, [block], None, tied=True))
