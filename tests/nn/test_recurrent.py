"""Recurrent layers: against their definitions and torch's own, in pieces, packed and padded."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bedplate.families import mixer
from bedplate.families.mixer_config import MixerConfig
from bedplate.nn.context import Context
from bedplate.nn.decoder import Decoder
from bedplate.nn.gated_linear import CHUNK, GatedLinear, scan
from bedplate.nn.initialise import initialise
from bedplate.nn.lstm import LSTM
from bedplate.nn.mask import Mask

# fp32: a chunk's sums run in another order than one place after another.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def _net(*mixers: str) -> Decoder:
    config = MixerConfig.model_validate(
        {
            "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": len(mixers), "num_attention_heads": 3,
            "vocab_size": 61, "mixers": mixers, "lstm_size": 20,
        }
    )  # fmt: skip
    net = mixer.build(config)
    initialise(net, 0)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for p in net.parameters():
            p += 0.2 * torch.randn(p.shape, generator=generator)
    return net


MIXED = ("gated_linear", "attention", "lstm")
LENGTHS = [1, 7, CHUNK, 2 * CHUNK + 9]


def _tokens(length: int, rows: int = 2) -> Tensor:
    return torch.randint(0, 61, (rows, length), generator=torch.Generator().manual_seed(length))


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_lstm_equals_torch() -> None:
    torch.manual_seed(0)
    ours, theirs = LSTM(20).build(24), torch.nn.LSTM(24, 20, proj_size=0, batch_first=True)
    with torch.no_grad():
        for p in ours.parameters():
            p.normal_(std=0.3)
        theirs.weight_ih_l0.copy_(ours.input.weight)
        theirs.weight_hh_l0.copy_(ours.recurrent.weight)
        theirs.bias_ih_l0.copy_(ours.input.bias)
        theirs.bias_hh_l0.zero_()
    x = _random(3, 31, 24)
    torch.testing.assert_close(ours(x, Context()), theirs(x)[0] @ ours.o.weight.T, **CLOSE)


def _by_definition(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
    B, H, T, K = q.shape
    state, out = torch.zeros(B, H, K, v.shape[-1]), []
    for t in range(T):
        if t:
            state = state * (segments[:, t] == segments[:, t - 1])[:, None, None, None]
        state = log_decay[:, :, t, None, None].exp() * state + k[:, :, t, :, None] * v[:, :, t, None, :]
        out.append((q[:, :, t, None, :] @ state)[:, :, 0])
    return torch.stack(out, dim=2), state


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("strength", [0.02, 5.0], ids=["slow decay", "fast decay"])
def test_chunks_equal_the_recurrence_and_its_gradients(length: int, packed: bool, strength: float) -> None:
    q, k, v = (_random(2, 3, length, d).requires_grad_() for d in (4, 4, 5))
    log_decay = (-strength * _random(2, 3, length).abs()).requires_grad_()
    cuts = torch.rand(2, length, generator=torch.Generator().manual_seed(3)) < 0.1
    segments = cuts.long().cumsum(-1) if packed else torch.zeros(2, length, dtype=torch.int64)
    start = torch.zeros(2, 3, 4, 5)
    ours = scan(q, k, v, log_decay, segments if packed else None, start)
    theirs = _by_definition(q, k, v, log_decay, segments)
    slopes = [torch.autograd.grad(y.square().sum() + s.sum(), (q, k, v, log_decay)) for y, s in (ours, theirs)]
    for a, b in zip((*ours, *slopes[0]), (*theirs, *slopes[1]), strict=True):
        assert (a - b).abs().max() <= 1e-5 * b.abs().max() + 1e-7


@pytest.mark.parametrize("cut", [5, CHUNK - 1, CHUNK, CHUNK + 7])
@pytest.mark.parametrize("strength", [1.0, 100.0, 1e6])
def test_a_document_before_it_changes_nothing(cut: int, strength: float) -> None:
    """Whatever it says and however fast it forgets: not by a rounding where it only says something else, and next to
    nothing where it isn't there."""
    T = 2 * CHUNK + 9
    q, k, v = (_random(2, 3, T, d) for d in (4, 4, 5))
    log_decay = -0.02 * _random(2, 3, T).abs()
    before = torch.arange(T) < cut
    fast = torch.where(before, strength * log_decay, log_decay)
    segments = (~before).long().expand(2, T)
    start = torch.zeros(2, 3, 4, 5)
    y, state = scan(q, k, v, log_decay, segments, start)
    other, other_state = scan(q, torch.where(before[:, None], 7 - k, k), v, fast, segments, start + 3)
    assert torch.equal(y[:, :, cut:], other[:, :, cut:])
    assert torch.equal(state, other_state)
    alone, state_alone = scan(q[:, :, cut:], k[:, :, cut:], v[:, :, cut:], log_decay[:, :, cut:], None, start)
    assert (y[:, :, cut:] - alone).abs().max() <= 1e-6 * alone.abs().max()
    assert (state - state_alone).abs().max() <= 1e-6 * state_alone.abs().max()


def test_decays_that_reach_zero_give_no_nan() -> None:
    layer = GatedLinear(2, 4, 4, temper=0.001).build(16)
    for p in layer.parameters():
        p.data.normal_(std=3.0)
    y = layer(10 * _random(1, 2 * CHUNK, 16), Context())
    y.sum().backward()
    assert bool(y.isfinite().all())
    assert all(bool(p.grad.isfinite().all()) for p in layer.parameters())


@pytest.mark.parametrize("mixers", [("lstm",), ("gated_linear",), MIXED], ids="-".join)
@pytest.mark.parametrize("pieces", [[1] * 20, [9, 1, 1, 9], [20]], ids=["tokens", "chunks", "whole"])
@torch.no_grad()
def test_pieces_equal_the_whole(mixers: tuple[str, ...], pieces: list[int]) -> None:
    net, tokens = _net(*mixers), _tokens(20)
    cache = net.new_cache(4)
    parts = [net(piece, cache=cache) for piece in tokens.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), net(tokens), **CLOSE)


@pytest.mark.parametrize("mixers", [("lstm",), ("gated_linear",), MIXED], ids="-".join)
@torch.no_grad()
def test_documents_that_share_a_row_are_as_alone(mixers: tuple[str, ...]) -> None:
    net, tokens = _net(*mixers), _tokens(2 * CHUNK + 9)
    cuts = (0, 5, CHUNK, CHUNK + 40, 2 * CHUNK + 9)
    segments = torch.zeros_like(tokens)
    positions = torch.zeros_like(tokens)
    for i, (a, b) in enumerate(itertools.pairwise(cuts)):
        segments[:, a:b], positions[:, a:b] = i, torch.arange(b - a)
    packed = net(tokens, positions=positions, mask=Mask(segments=segments))
    for a, b in itertools.pairwise(cuts):
        torch.testing.assert_close(packed[:, a:b], net(tokens[:, a:b]), **CLOSE)


@pytest.mark.parametrize("mixers", [("lstm",), ("gated_linear",), MIXED], ids="-".join)
@torch.no_grad()
def test_a_left_padded_row_is_the_row_alone_and_rows_join_and_leave(mixers: tuple[str, ...]) -> None:
    from bedplate.families.model import Model
    from bedplate.generate.batch import Batch

    config = MixerConfig.model_validate(
        {
            "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": len(mixers), "num_attention_heads": 3,
            "vocab_size": 61, "mixers": mixers, "lstm_size": 20,
        }
    )  # fmt: skip
    net = _net(*mixers).eval()
    rows = [_tokens(n, 1)[0].tolist() for n in (11, 4, 7)]
    batch = Batch(Model(config, net))
    logits = batch.add(rows[:2], 5)
    logits = torch.cat((logits, batch.add(rows[2:], 5)))
    after = batch.step(torch.tensor([1, 2, 3]))
    batch.keep([2, 0])
    last = batch.step(torch.tensor([4, 5]))
    for i, row in enumerate(rows):
        alone = net(torch.tensor([[*row, i + 1]]))
        torch.testing.assert_close(logits[i], net.readout.logits(alone[0, -2]), **CLOSE)
        torch.testing.assert_close(after[i], net.readout.logits(alone[0, -1]), **CLOSE)
    for i, (row, token) in enumerate(((2, 4), (0, 5))):
        alone = net(torch.tensor([[*rows[row], row + 1, token]]))
        torch.testing.assert_close(last[i], net.readout.logits(alone[0, -1]), **CLOSE)


@torch.no_grad()
def test_a_folder_comes_back(tmp_path: Path) -> None:
    from bedplate.families.model import Model, load

    config = MixerConfig(
        hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=3, vocab_size=61, mixers=MIXED,
        lstm_size=20, tie_word_embeddings=False,
    )  # fmt: skip
    net = mixer.build(config)
    initialise(net, 0)
    Model(config, net).save(tmp_path)
    again = load(tmp_path)
    assert again.config == config
    assert torch.equal(again(_tokens(9)), Model(config, net)(_tokens(9)))
