"""Packed documents never see each other: through whole decoders, in states and in gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bedplate.nn import attend
from bedplate.nn.cross_entropy import chunked_cross_entropy
from bedplate.nn.decoder import Decoder
from bedplate.nn.mask import Mask

# Lengths of the documents of two packed rows of 40: shorter and longer than every window, one of a single token.
ROWS = [[5, 1, 17, 9, 8], [23, 2, 15]]
TOTAL = 40


@pytest.fixture(autouse=True)
def _several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 16 queries, so that documents cross them."""
    monkeypatch.setattr(attend, "QUERY_BLOCK", 16)


def _packed() -> tuple[Tensor, Tensor, Tensor]:
    """tokens, segments, positions [2, 40]. The documents share no token, so that embeddings' gradients tell them
    apart: document d of all has tokens 12 d .. 12 d + 11."""
    tokens, segments, positions, document = [], [], [], 0
    generator = torch.Generator().manual_seed(0)
    for lengths in ROWS:
        row = []
        for length in lengths:
            row.append(12 * document + torch.randint(0, 12, (length,), generator=generator))
            document += 1
        tokens.append(torch.cat(row))
        segments.append(torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)))
        positions.append(torch.cat([torch.arange(n) for n in lengths]))
    return torch.stack(tokens), torch.stack(segments), torch.stack(positions)


def _documents() -> list[tuple[int, int, int]]:
    """(row, start, end) of each document."""
    found = []
    for row, lengths in enumerate(ROWS):
        start = 0
        for n in lengths:
            found.append((row, start, start + n))
            start += n
    return found


def test_packed_states_are_those_of_each_document_alone(decoder: Decoder) -> None:
    tokens, segments, positions = _packed()
    with torch.no_grad():
        packed = decoder(tokens, positions=positions, mask=Mask(segments=segments))
        for row, a, b in _documents():
            alone = decoder(tokens[row : row + 1, a:b])
            # fp32: the products have other shapes, so that sums round elsewhere; states are of size 1, three layers.
            torch.testing.assert_close(packed[row, a:b], alone[0], rtol=1e-5, atol=2e-5)


def test_packed_gradients_are_the_sum_of_each_document_alone(decoder: Decoder) -> None:
    tokens, segments, positions = _packed()
    targets = tokens.flip(1)

    def backward(t: Tensor, wanted: Tensor, positions: Tensor | None = None, mask: Mask | None = None) -> None:
        hidden = decoder(t, positions=positions, mask=mask)
        chunked_cross_entropy(hidden, decoder.readout, wanted, torch.ones_like(wanted, dtype=torch.bool)).backward()

    backward(tokens, targets, positions, Mask(segments=segments))
    packed = {name: p.grad for name, p in decoder.named_parameters()}
    decoder.zero_grad(set_to_none=True)
    for row, a, b in _documents():
        backward(tokens[row : row + 1, a:b], targets[row : row + 1, a:b])
    for name, p in decoder.named_parameters():
        ours = packed[name]
        assert ours is not None
        assert p.grad is not None
        # Sums over 80 tokens in another order, fp32, relative to the tensor's own size. A bias of keys shifts all of
        # a query's scores alike: its true gradient is nearly nothing, and rounding is measured against the queries'.
        size = p.grad.norm() + (1.0 if name.endswith(".k.bias") else 0.0)
        assert (ours - p.grad).norm() <= 1e-5 * size, name


def test_a_document_changes_nothing_in_another(decoder: Decoder) -> None:
    tokens, segments, positions = _packed()
    embedded: list[Tensor] = []
    decoder.embed.register_forward_hook(lambda _m, _i, out: embedded.append(out) or out.retain_grad())

    def states(t: Tensor) -> Tensor:
        out: Tensor = decoder(t, positions=positions, mask=Mask(segments=segments))
        return out

    before = states(tokens)
    for row, a, b in _documents():
        decoder.zero_grad()
        others = torch.ones(tokens.shape, dtype=torch.bool)
        others[row, a:b] = False
        changed = tokens.clone()
        changed[row, a:b] = (tokens[row, a:b] + 1) % 97
        # Bit for bit: a forbidden probability is exactly zero.
        assert torch.equal(states(changed)[others], before[others])
        weight = torch.linspace(-1, 1, before.numel()).view_as(before)
        embedded.clear()
        (states(tokens) * weight)[row, a:b].sum().backward()
        (inputs,) = embedded
        assert inputs.grad is not None
        assert (inputs.grad[others] == 0).all()
        # A first token's own gradient is not zero: the test sees what it means to see.
        assert (inputs.grad[row, a] != 0).any()


def test_without_segments_documents_do_see_each_other(decoder: Decoder) -> None:
    """The counter-proof: the tests above would fail for a decoder that ignored segments."""
    tokens, segments, positions = _packed()
    with torch.no_grad():
        apart = decoder(tokens, positions=positions, mask=Mask(segments=segments))
        together = decoder(tokens, positions=positions)
    assert (apart - together)[0, 6:].abs().max() > 1e-2


def test_default_positions_and_mask_are_a_causal_row(decoder: Decoder) -> None:
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        plain = decoder(tokens)
        said = decoder(tokens, positions=torch.arange(20)[None], mask=Mask(valid=torch.ones(1, 20, dtype=torch.bool)))
        assert torch.equal(plain, said)
        torch.testing.assert_close(decoder(tokens[:, :11]), plain[:, :11], rtol=1e-5, atol=2e-5)


def test_computes_in_the_dtype_it_is_told(decoder: Decoder) -> None:
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        exact = decoder(tokens)
        decoder.compute_dtype = torch.bfloat16
        rough = decoder(tokens)
    assert (exact.dtype, rough.dtype) == (torch.float32, torch.bfloat16)
    assert all(p.dtype == torch.float32 for p in decoder.parameters())
    # bf16 rounds each of some 30 steps by 2^-9.
    assert (rough.float() - exact).norm() < 0.05 * exact.norm()
