"""The masked loss beside transformers' own on the same outputs, and its head at the chosen positions alone."""

from __future__ import annotations

import os
import shutil

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bedplate.nn.attention import Attention
from bedplate.nn.encoder import Encoder
from bedplate.nn.encoder_heads import MaskedHead, Transform
from bedplate.nn.feedforward import FeedForward
from bedplate.nn.norm import LayerNorm
from bedplate.nn.residual import Block, Residual
from bedplate.nn.stack import Embeddings
from bedplate.objectives.masked import Masked

VOCABULARY, T = 53, 24
COMPILER = shutil.which(os.environ.get("CXX", "g++"))


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def net(request, randomised) -> Encoder:
    norm = LayerNorm(1e-5)
    block = Block(
        Residual(Attention(4, 4, 6, bias=True, out_bias=True), out_norm=norm),
        Residual(FeedForward(32, "gelu"), out_norm=norm),
    )
    head = MaskedHead(Transform(norm=norm), tied=request.param)
    return randomised(Encoder(24, Embeddings(VOCABULARY, 64, norm=norm), [block] * 2, None, head=head))


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """Three rows: texts of 10 and 14 tokens, of 24, and one of 20 with padding in a segment of its own."""
    generator = torch.Generator().manual_seed(0)
    segments = torch.repeat_interleave(torch.tensor([0, 1, 0, 0, 1]), torch.tensor([10, 14, 24, 20, 4])).view(3, T)
    positions = torch.cat([torch.arange(n) for n in (10, 14, 24, 20, 4)]).view(3, T)
    targets = torch.randint(1, VOCABULARY, (3, T), generator=generator)
    keep = torch.rand((3, T), generator=generator) < 0.3
    keep[2, 20:] = False
    tokens = targets.masked_fill(keep, 0)
    return {"tokens": tokens, "targets": targets, "segments": segments, "positions": positions, "keep": keep}


def logits_of(net: Encoder, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    hidden = net(batch["tokens"], positions=batch["positions"], segments=batch["segments"])
    return net.readout.logits(net.head_states(hidden))


@pytest.mark.parametrize("compiled", [False, True] if COMPILER else [False])
def test_it_is_transformers_mean_and_gradient(net, batch, compiled):
    from transformers.loss.loss_utils import ForMaskedLMLoss

    labels = batch["targets"].where(batch["keep"], -100)
    expected = ForMaskedLMLoss(logits_of(net, batch), labels, VOCABULARY)
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in net.named_parameters()}
    net.zero_grad()
    objective = Masked(compiled=compiled)
    found = objective(net, batch)["masked"].sum / objective.weights(batch)["masked"]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    found.backward()
    for name, p in net.named_parameters():
        # The bias of keys moves all scores of a query alike: its true gradient is nothing.
        assert (p.grad - gradients[name]).norm() <= 1e-5 * (gradients[name].norm() + name.endswith("k.bias")), name


def test_texts_of_one_row_are_told_apart(net, batch):
    loss = Masked()(net, {k: v[:1] for k, v in batch.items()})["masked"].sum
    halves = [
        {k: v[:1, a:b] for k, v in batch.items()} | {"segments": torch.zeros(1, b - a, dtype=torch.int64)}
        for a, b in ((0, 10), (10, 24))
    ]
    alone = sum(Masked()(net, half)["masked"].sum for half in halves)
    torch.testing.assert_close(loss, alone, rtol=1e-6, atol=0)


def test_the_head_is_computed_at_the_chosen_positions_alone(randomised):
    net = randomised(Encoder(16, 1000, [], None, head=MaskedHead(Transform())))
    keep = torch.zeros(4, 512, dtype=torch.bool)
    keep[:, ::16] = True  # 128 of 2,048
    zeros = torch.zeros(4, 512, dtype=torch.int64)
    batch = {"tokens": zeros, "targets": zeros, "segments": zeros, "positions": torch.arange(512).expand(4, -1)}

    def linear(x, weight, *_, **__):
        return 2 * x[0] * x[1] * weight[0]

    onednn = {torch.ops.mkldnn._linear_pointwise: linear}
    with FlopCounterMode(display=False, custom_mapping=onednn) as counter, torch.no_grad():
        Masked()(net, batch | {"keep": keep})
    assert counter.get_total_flops() == 128 * 2 * (16 * 16 + 16 * 1000)


def test_parts_and_nothing(net, batch, parts_sum_to_the_whole, counts_for_nothing):
    parts_sum_to_the_whole(Masked(), net, batch)
    counts_for_nothing(Masked(), net, {**batch, "keep": torch.zeros_like(batch["keep"])})
