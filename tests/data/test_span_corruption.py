"""Spans: every text comes back from what encoder and decoder are given, and lengths are T5's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.data.packing import EvaluationRows, PackedRows
from bedplate.data.span_corruption import SpanRows, Spans, span_mask
from bedplate.data.tokens import TokenSet
from bedplate.errors import InputError

EOS, START, PAD, FIRST = 100_000, 100_001, 100_002, 99_999
SENTINELS = range(FIRST, FIRST - 100, -1)


@pytest.fixture(scope="session")
def token_set(built) -> TokenSet:
    return TokenSet.open(built.tokens)


def made(source, length, spans=None, seed=5, **options):
    options = {"sentinels": SENTINELS, "eos": EOS, "start": START, "pad": PAD} | options
    return SpanRows(source, seed, length=length, spans=spans, **options)


def put_together(row):
    """The text again, in plain Python."""
    told = row["targets"][row["keep"]].tolist()
    shown = row["tokens"][row["valid"]].tolist()
    assert told.pop() == shown.pop() == EOS
    spans = {}
    for token in told:
        if token > FIRST - 100:
            current = spans[token] = []
        else:
            current.append(token)
    assert list(spans) == list(SENTINELS[: len(spans)])  # descending, from the first on
    return [token for place in shown for token in spans.pop(place, [place])], spans


@settings(deadline=None, max_examples=40)
@given(
    length=st.integers(2, 120),
    density=st.floats(0.01, 0.7),
    mean=st.floats(1.0, 10.0),
    seed=st.integers(0, 9),
    first=st.integers(0, 900),
    count=st.integers(1, 6),
)
def test_every_text_can_be_put_together_again(token_set, length, density, mean, seed, first, count):
    source = PackedRows(token_set, "train", length, 1)
    rows = made(source, length, Spans(density, mean), seed).rows(first, count)
    for i, text in enumerate(source.rows(first, count)["targets"].tolist()):
        row = {name: value[i] for name, value in rows.items()}
        assert put_together(row) == (text, {})
        assert row["keep"].all()
        assert row["valid"].all()
        assert row["decoder_tokens"].tolist() == [START, *row["targets"][:-1].tolist()]
    alone = [made(source, length, Spans(density, mean), seed).rows(first + i, 1) for i in range(count)]
    for key, value in rows.items():
        np.testing.assert_array_equal(value, np.concatenate([row[key] for row in alone]))


def test_an_unfinished_last_row_is_padded(token_set):
    source = EvaluationRows(token_set, "validation", 100)
    last = source.rows(source.count - 1, 1)
    size = int(last["keep"].sum())
    assert size < 100
    rows = {name: value[0] for name, value in made(source, 100).rows(source.count - 1, 1).items()}
    assert put_together(rows) == (last["targets"][0, :size].tolist(), {})
    assert (rows["tokens"][~rows["valid"]] == PAD).all()
    assert (rows["targets"][~rows["keep"]] == PAD).all()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_shortest_texts(size):
    class One:
        def rows(self, first, count):
            return {"targets": np.arange(10)[None], "keep": np.arange(10)[None] < size}

    rows = {name: value[0] for name, value in made(One(), 10).rows(0, 1).items()}
    assert put_together(rows) == (list(range(size)), {})


def test_lengths_are_those_of_t5():
    """The numbers of the paper's setting: 512 encoder places hold 568 tokens, whose decoder row is 114."""
    assert Spans().tokens_for(512) == 568
    assert Spans().lengths(568) == (512, 114)
    for places in range(3, 300):
        tokens = Spans().tokens_for(places)
        assert Spans().lengths(tokens)[0] <= places < Spans().lengths(tokens + 1)[0]


def test_spans_are_of_the_lengths_asked_for():
    draws = np.random.default_rng(0).random((500, 2 * 512))
    mask = span_mask(512, Spans(), draws)
    assert (mask.sum(axis=1) == 77).all()
    begins = mask & ~np.concatenate([np.zeros((500, 1), dtype=bool), mask[:, :-1]], axis=1)
    assert (begins.sum(axis=1) == 26).all()
    assert not mask[:, 0].any()
    # Places far from both ends are hidden as often as any other.
    shares = mask[:, 100:400].mean(axis=0)
    assert abs(shares - 0.15).max() < 5 * (0.15 * 0.85 / 500) ** 0.5


def test_wrong_settings_are_refused(token_set):
    source = PackedRows(token_set, "train", 512, 1)
    with pytest.raises(InputError, match="26 spans in 512 tokens, and the tokenizer has 20 sentinels"):
        made(source, 512, sentinels=range(20))
    with pytest.raises(InputError, match="rows of 512 tokens, where 100 were promised"):
        made(source, 100).rows(0, 1)
    with pytest.raises(InputError, match="a density of 1"):
        Spans(density=1.0)
    with pytest.raises(InputError, match="a mean length of 0"):
        Spans(mean_length=0.5)
    with pytest.raises(InputError, match="an encoder row of 2"):
        Spans().tokens_for(2)
    with pytest.raises(InputError, match="texts of 1 tokens"):
        made(source, 1)
