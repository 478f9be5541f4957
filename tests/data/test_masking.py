"""Masked rows against BERT's recipe, and the words that whole-word masking hides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.data.masking import MaskedRows
from bedplate.data.packing import EvaluationRows, PackedRows
from bedplate.data.tokens import TokenSet
from bedplate.errors import InputError

KEYS = ("tokens", "targets", "segments", "positions", "keep")


@pytest.fixture(scope="session")
def token_set(built) -> TokenSet:
    return TokenSet.open(built.tokens)


def masked(tokens, length=64, seed=3, rows=None, **options):
    vocabulary = tokens.vocab_size + 1
    options = {"vocabulary": vocabulary, "mask_id": vocabulary - 1, "special": [tokens.boundary_id]} | options
    return MaskedRows(rows or PackedRows(tokens, "train", length, 1), seed, **options)


def word_starts(tokens, share=0.4):
    begins = np.random.default_rng(0).random(tokens.vocab_size + 1) < share
    return begins.__getitem__


@settings(deadline=None, max_examples=40)
@given(
    length=st.integers(1, 90),
    rate=st.floats(0.01, 1.0),
    seed=st.integers(0, 9),
    first=st.integers(0, 900),
    count=st.integers(1, 6),
    whole=st.booleans(),
)
def test_properties(token_set, length, rate, seed, first, count, whole):
    starts = word_starts(token_set) if whole else None
    source = PackedRows(token_set, "train", length, 1)
    made = masked(token_set, seed=seed, rows=source, rate=rate, word_starts=starts)
    rows, plain = made.rows(first, count), source.rows(first, count)
    keep, tokens = rows["keep"], plain["tokens"]
    np.testing.assert_array_equal(rows["targets"], tokens)
    np.testing.assert_array_equal(rows["tokens"][~keep], tokens[~keep])
    special = tokens == token_set.boundary_id
    assert not keep[special].any()
    assert not (rows["tokens"][~special] == token_set.boundary_id).any()
    np.testing.assert_array_equal(keep.any(axis=1), (~special).any(axis=1))
    alone = [made.rows(first + i, 1) for i in range(count)]
    for key in KEYS:
        np.testing.assert_array_equal(rows[key], np.concatenate([row[key] for row in alone]))
    if starts is None:
        return
    for row in range(count):  # the definition, in plain Python
        for i in range(1, length):
            joined = not starts(tokens[row, i]) and not special[row, i] and not special[row, i - 1]
            if joined and rows["segments"][row, i] == rows["segments"][row, i - 1]:
                assert keep[row, i] == keep[row, i - 1]


@pytest.mark.parametrize("whole", [False, True])
def test_shares_are_those_of_bert(token_set, whole):
    made = masked(token_set, 128, word_starts=word_starts(token_set, 0.7) if whole else None)
    rows = made.rows(0, 400)
    keep, shown, was = rows["keep"], rows["tokens"], rows["targets"]
    open_places = was != token_set.boundary_id
    chosen = keep.sum()
    # Five standard deviations of a share of so many draws; words hide together, which doubles the spread.
    spread = 5 * (2 if whole else 1)
    assert chosen / open_places.sum() == pytest.approx(0.15, abs=spread * (0.15 * 0.85 / open_places.sum()) ** 0.5)
    hidden = (shown[keep] == made.mask_id).sum() / chosen
    same = (shown[keep] == was[keep]).sum() / chosen
    assert hidden == pytest.approx(0.8, abs=5 * (0.16 / chosen) ** 0.5)
    assert same == pytest.approx(0.1, abs=5 * (0.09 / chosen) ** 0.5 + 1 / token_set.vocab_size)
    random = shown[keep & (shown != made.mask_id) & (shown != was)]
    assert len(np.unique(random)) > 0.5 * min(token_set.vocab_size, len(random))


def test_whole_words_of_a_real_tokenizer(token_set):
    from bedplate.codecs.word_starts import WordStarts

    rows = masked(token_set, 100, word_starts=WordStarts(token_set.tokenizer())).rows(0, 50)
    tokenizer = token_set.tokenizer()
    inside = 0
    for row, keep in zip(rows["targets"], rows["keep"], strict=True):
        for i in np.flatnonzero(keep[:-1]).tolist():
            after = tokenizer.token_bytes(int(row[i + 1]))
            joined = not after[:1].isspace() and not tokenizer.token_bytes(int(row[i]))[-1:].isspace()
            if joined and row[i + 1] != token_set.boundary_id:
                inside += 1
                assert keep[i + 1]
    assert inside > 20


def test_each_seed_hides_other_places(token_set):
    one, other = (masked(token_set, seed=seed).rows(0, 4)["keep"] for seed in (0, 1))
    assert (one != other).any()


def test_padding_is_never_chosen(token_set):
    source = EvaluationRows(token_set, "validation", 100)
    last = source.count - 1
    padded = ~source.rows(last, 1)["keep"]
    assert padded.any()
    assert not masked(token_set, rows=source, rate=1.0).rows(last, 1)["keep"][padded].any()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"rate": 0.0}, "a rate of 0.0"),
        ({"special": [10**6]}, "1000000] in a vocabulary"),
        ({"special": range(0, 2), "vocabulary": 2, "mask_id": 1}, "every token of the vocabulary is special"),
    ],
)
def test_wrong_settings_are_refused(token_set, options, problem):
    with pytest.raises(InputError, match=problem):
        masked(token_set, **options)
