"""Prefix rows: nothing that a prefix shows is a target, and each segment has a split of its own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.data.packing import EvaluationRows, PackedRows
from bedplate.data.prefix import PrefixRows
from bedplate.data.tokens import TokenSet


@pytest.fixture(scope="session")
def token_set(built) -> TokenSet:
    return TokenSet.open(built.tokens)


@settings(deadline=None, max_examples=40)
@given(length=st.integers(1, 200), seed=st.integers(0, 9), first=st.integers(0, 900), count=st.integers(1, 5))
def test_properties(token_set, length, seed, first, count):
    source = PackedRows(token_set, "train", length, 1)
    rows, plain = PrefixRows(source, seed).rows(first, count), source.rows(first, count)
    for key in ("tokens", "targets", "segments", "positions"):
        np.testing.assert_array_equal(rows[key], plain[key])
    for i in range(count):
        for segment in range(int(rows["segments"][i].max()) + 1):
            here = rows["segments"][i] == segment
            prefix, keep = rows["prefix"][i][here], rows["keep"][i][here]
            size = int(prefix.sum())
            assert 1 <= size <= here.sum()
            assert prefix[:size].all()
            assert keep.tolist() == [False] * (size - 1) + [True] * (here.sum() - size + 1)
    alone = [PrefixRows(source, seed).rows(first + i, 1) for i in range(count)]
    for key, value in rows.items():
        np.testing.assert_array_equal(value, np.concatenate([row[key] for row in alone]))


def test_splits_are_uniform(token_set):
    rows = PrefixRows(PackedRows(token_set, "train", 50, 1), 0).rows(0, 1500)
    whole = (rows["segments"] == 0).all(axis=1)
    sizes = rows["prefix"][whole].sum(axis=1)
    assert len(sizes) > 50
    assert sizes.mean() == pytest.approx(25.5, abs=5 * 14.4 / len(sizes) ** 0.5)


def test_padding_stays_without_loss(token_set):
    source = EvaluationRows(token_set, "validation", 100)
    last = source.rows(source.count - 1, 1)
    rows = PrefixRows(source, 0).rows(source.count - 1, 1)
    assert not rows["keep"][~last["keep"]].any()


def test_what_is_kept_does_not_leak(token_set):
    """A model that copies what it may see of the targets finds none of those that count."""
    import torch

    from bedplate.nn.mask import Mask

    rows = PrefixRows(PackedRows(token_set, "train", 40, 1), 0).rows(0, 8)
    segments, prefix = (torch.from_numpy(rows[key]) for key in ("segments", "prefix"))
    allowed = Mask(segments=segments, prefix=prefix).dense(40, 40, torch.device("cpu"))[:, 0].numpy()
    row, place = np.nonzero(rows["keep"][:, :-1])
    same = rows["segments"][row, place] == rows["segments"][row, place + 1]
    assert not allowed[row[same], place[same], place[same] + 1].any()
