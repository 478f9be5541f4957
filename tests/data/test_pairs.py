"""Pairs stay together, each once an epoch, padded to the longest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.data.pairs import PairRows, TextPairs
from bedplate.errors import InputError


def encode(texts):
    return [[ord(c) for c in text] for text in texts]


def some(count):
    return TextPairs.encode([f"a{i}" for i in range(count)], [f"{i}" * (1 + i % 3) for i in range(count)], encode, 0)


def read(rows, i):
    return tuple("".join(map(chr, rows[f"{p}tokens"][i][rows[f"{p}valid"][i]])) for p in ("", "pair_"))


@settings(deadline=None, max_examples=30)
@given(count=st.integers(1, 40), seed=st.integers(0, 9), first=st.integers(0, 200), size=st.integers(1, 20))
def test_rows_are_pairs_and_pure(count, seed, first, size):
    made = PairRows(some(count), seed)
    rows = made.rows(first, size)
    found = [read(rows, i) for i in range(size)]
    assert all(pair == f"{text[1:]}" * (1 + int(text[1:]) % 3) for text, pair in found)
    assert found == [read(PairRows(some(count), seed).rows(first + i, 1), 0) for i in range(size)]
    for prefix in ("", "pair_"):
        assert rows[f"{prefix}valid"].any(axis=0).all()
        assert (rows[f"{prefix}tokens"][~rows[f"{prefix}valid"]] == 0).all()
    epoch = made.rows(7 * count, count)
    assert sorted(read(epoch, i) for i in range(count)) == sorted(
        read(some(count).rows(0, count), i) for i in range(count)
    )


def test_one_pass_is_in_order():
    pairs = some(7)
    assert pairs.count == 7
    assert [read(pairs.rows(5, 9), i)[0] for i in range(2)] == ["a5", "a6"]
    with pytest.raises(InputError, match="pair 7 of 7"):
        pairs.rows(7, 1)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="2 texts and 1 that belong to them"):
        TextPairs([[1], [2]], [[1]], 0)
    with pytest.raises(InputError, match="text of the second kind 1 has no tokens"):
        TextPairs([[1], [2]], [[1], []], 0)


def test_each_epoch_has_an_order_of_its_own():
    made = PairRows(some(30), 0)
    assert not np.array_equal(made.rows(0, 30)["tokens"], made.rows(30, 30)["tokens"])
