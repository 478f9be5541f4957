"""Every decoder of the parity table: read in pieces with a cache, and together with others in a batch.

The families are those of `test_parity`: one that is added there is decoded here without another word.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from test_parity import FAMILIES, LENGTH, _quiet_and_alone, family, tokens  # noqa: F401  # the last three are fixtures
from torch import Tensor
from transformers import PreTrainedModel

from bedplate.families.model import Model, load
from bedplate.families.registry import FAMILIES as REGISTERED
from bedplate.generate.batch import Batch
from bedplate.nn.context import ContextLayer
from bedplate.nn.mask import Mask

# Sums in another order, through three layers, in fp32.
RELATIVE = 1e-5
PIECES = (1, 9, 2, 1, 1, 13, 5, 7, 1)
"""Of 40 tokens: the first alone, windows crossed within a piece and between two."""
NOT_OF_TRANSFORMERS = {"bedplate-mixer"}


@pytest.fixture(scope="module")
def model(family: tuple[PreTrainedModel, Path]) -> Model:  # noqa: F811
    ours = load(family[1])
    if _turns_with_length(ours):
        pytest.skip("its positions turn with the longest length: only whole texts, alone, are what they should be")
    return ours


def _turns_with_length(model: Model) -> bool:
    """Whether these texts reach to where the length of one changes the angles of all."""
    ropes = [m.position for m in model.net.modules() if isinstance(m, ContextLayer) and m.position is not None]
    stretched = [rope.scaling for rope in ropes if rope.scaling is not None and rope.scaling.depends_on_length]
    return any(scaling.original_length < LENGTH for scaling in stretched)


def _off(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return ((a - b).abs().max() / b.abs().max()).item()


def test_every_registered_decoder_is_decoded_here() -> None:
    import transformers

    types = {getattr(transformers, f"{kind}Config").model_type for kind, _ in FAMILIES.values()}
    assert types == REGISTERED.keys() - NOT_OF_TRANSFORMERS


@torch.inference_mode()
def test_in_uneven_pieces_with_a_cache_as_in_one(model: Model, tokens: Tensor) -> None:  # noqa: F811
    whole, cache = model(tokens), model.new_cache()
    assert sum(PIECES) == tokens.shape[1]
    pieces = [model(part, cache=cache) for part in tokens.split(PIECES, dim=1)]
    assert cache.length == tokens.shape[1]
    assert _off(torch.cat(pieces, 1), whole) < RELATIVE


@torch.inference_mode()
def test_left_padding_in_uneven_pieces(model: Model, tokens: Tensor) -> None:  # noqa: F811
    """With a cache and padding at once, in which the window reaches from the texts into what isn't there."""
    starts = torch.tensor([[0], [11]])
    slots = torch.arange(tokens.shape[1])
    valid, positions, cache = slots >= starts, (slots - starts).clamp(min=0), model.new_cache()
    done, pieces = 0, []
    for part in tokens.split((15, 1, 20, 4), dim=1):
        end = done + part.shape[1]
        mask = Mask(valid=valid[:, :end])
        pieces.append(model(part, positions=positions[:, done:end], mask=mask, cache=cache))
        done = end
    logits = torch.cat(pieces, 1)
    for row, start in enumerate(starts[:, 0].tolist()):
        assert _off(logits[row, start:], model(tokens[row : row + 1, start:])[0]) < RELATIVE


@torch.inference_mode()
def test_a_batch_equals_its_rows_alone(model: Model, tokens: Tensor) -> None:  # noqa: F811
    """Rows of four lengths, then two of them and one that joins later: each one's logits at every step."""
    flat = tokens.flatten().tolist()
    rows = [flat[:3], flat[10:18], flat[20:39], flat[40:71]]
    batch = Batch(model)
    logits = batch.add(rows, room=4)
    rows = _grown(model, batch, rows, logits)
    batch.keep([0, 2])
    rows = [rows[0], rows[2], flat[50:61]]
    _grown(model, batch, rows, torch.cat((_alone(model, rows[:2]), batch.add(rows[2:], room=4))))


def _alone(model: Model, rows: list[list[int]]) -> Tensor:
    """The logits [rows, V] of what comes after each row, each in a pass of its own."""
    return torch.cat([model(torch.tensor([row]))[:, -1] for row in rows])


def _grown(model: Model, batch: Batch, rows: list[list[int]], logits: Tensor) -> list[list[int]]:
    for step in _steps(len(rows)):
        assert _off(logits, _alone(model, rows)) < RELATIVE
        rows = [[*row, token] for row, token in zip(rows, step.tolist(), strict=True)]
        logits = batch.step(step)
    assert _off(logits, _alone(model, rows)) < RELATIVE
    return rows


def _steps(rows: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        yield torch.randint(0, 131, (rows,), generator=generator)
