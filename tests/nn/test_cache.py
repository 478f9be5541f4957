"""Decoding with a cache, in any pieces and with padding, gives what one whole pass gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bedplate.nn.decoder import Decoder
from bedplate.nn.mask import Mask

LENGTH = 30
# fp32: products of other shapes round elsewhere; states are of size 1 and three layers add up.
CLOSE = {"rtol": 1e-5, "atol": 3e-5}


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(0, 97, (3, LENGTH), generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("pieces", [[1] * LENGTH, [11, 1, 1, 7, 1, 9], [LENGTH]], ids=["tokens", "chunks", "whole"])
@pytest.mark.parametrize("capacity", [0, 13, 64])
def test_pieces_equal_the_whole(decoder: Decoder, tokens: Tensor, pieces: list[int], capacity: int) -> None:
    whole = decoder(tokens)
    cache = decoder.new_cache(capacity)
    out = []
    for piece in tokens.split(pieces, dim=1):
        before = cache.length
        out.append(decoder(piece, cache=cache))
        assert cache.length == before + piece.shape[1]
    torch.testing.assert_close(torch.cat(out, dim=1), whole, **CLOSE)
    assert cache.capacity >= LENGTH
    if capacity == 64:
        assert cache.capacity == 64


def test_growth_doubles(decoder: Decoder, tokens: Tensor) -> None:
    cache = decoder.new_cache(4)
    capacities = []
    for piece in tokens.split(1, dim=1):
        decoder(piece, cache=cache)
        capacities.append(cache.capacity)
    assert sorted(set(capacities)) == [4, 8, 16, 32]


def test_select_keeps_rows_in_the_order_given(decoder: Decoder, tokens: Tensor) -> None:
    whole = decoder(tokens)
    cache = decoder.new_cache(LENGTH)
    decoder(tokens[:, :20], cache=cache)
    rows = torch.tensor([2, 0])
    cache.select(rows)
    torch.testing.assert_close(decoder(tokens[rows, 20:], cache=cache), whole[rows, 20:], **CLOSE)
    assert cache.length == LENGTH
    cache.select(torch.tensor([1]))
    again = decoder(tokens[:1, :1], cache=cache)
    assert again.shape == (1, 1, 32)


@pytest.mark.parametrize("pieces", [[LENGTH], [17] + [1] * 13])
def test_left_padded_rows_equal_rows_alone(decoder: Decoder, tokens: Tensor, pieces: list[int]) -> None:
    starts = torch.tensor([0, 9, 16])
    valid = torch.arange(LENGTH) >= starts[:, None]
    positions = (torch.arange(LENGTH) - starts[:, None]).clamp(min=0)
    cache = decoder.new_cache(LENGTH)
    out, a = [], 0
    for n in pieces:
        b = a + n
        mask = Mask(valid=valid[:, :b])
        out.append(decoder(tokens[:, a:b], positions=positions[:, a:b], mask=mask, cache=cache))
        a = b
    batch = torch.cat(out, dim=1)
    for row, start in enumerate(starts.tolist()):
        torch.testing.assert_close(batch[row, start:], decoder(tokens[row : row + 1, start:])[0], **CLOSE)
    assert batch.isfinite().all()


def test_segments_are_refused_once_there_is_a_past(decoder: Decoder, tokens: Tensor) -> None:
    cache = decoder.new_cache(LENGTH)
    decoder(tokens[:, :5], cache=cache)
    with pytest.raises(ValueError, match="segments"):
        decoder(tokens[:, 5:], mask=Mask(segments=torch.zeros(3, 25, dtype=torch.long)), cache=cache)
