"""Packed rows: every pair of every document once an epoch, and each row a pure function of (seed, row)."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.console import Console
from bedplate.data.packing import EvaluationRows, PackedRows
from bedplate.data.tokens import TokenSet
from bedplate.data.train_tokenizer import TRAIN_TOKENIZER, TrainTokenizerConfig
from bedplate.errors import InputError
from bedplate.ledger import produce

KEYS = ("tokens", "targets", "segments", "positions", "keep")


@pytest.fixture(scope="session")
def token_set(built) -> TokenSet:
    return TokenSet.open(built.tokens)


def pairs_of(documents, boundary):
    """The definition, in plain Python: [BOS] t1..tn -> t1..tn [EOS]."""
    for document in documents:
        whole = [boundary, *map(int, document), boundary]
        yield from pairwise(whole)


def all_documents(tokens, split="train"):
    return [tokens.document(split, i) for i in range(len(tokens.documents(split)))]


def joined(parts):
    return {key: np.concatenate([part[key] for part in parts]) for key in KEYS}


def assert_equal(a, b):
    for key in KEYS:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


@settings(deadline=None, max_examples=20)
@given(length=st.integers(1, 700), seed=st.integers(0, 2**63 - 1))
def test_every_pair_appears_exactly_once_an_epoch(token_set, length, seed):
    packed = PackedRows(token_set, "train", length, seed)
    expected = Counter(pairs_of(all_documents(token_set), token_set.boundary_id))
    assert packed.pairs_per_epoch == expected.total()
    # The first two epochs' rows and what the second's last one lacks of its end, put back in the stream's order.
    count = 3 * packed.rows_per_epoch
    places = [packed.place(row) for row in range(count)]
    assert sorted(places) == list(range(count))
    rows = packed.rows(0, count)
    stream = {key: rows[key][np.argsort(places)] for key in KEYS}
    flat = list(zip(stream["tokens"].ravel().tolist(), stream["targets"].ravel().tolist(), strict=True))
    size = packed.pairs_per_epoch
    assert Counter(flat[:size]) == expected
    assert Counter(flat[size : 2 * size]) == expected
    assert rows["keep"].all()


@settings(deadline=None, max_examples=30)
@given(length=st.integers(1, 300), seed=st.integers(0, 9), first=st.integers(0, 5000), count=st.integers(1, 12))
def test_a_row_is_a_pure_function_of_seed_and_number(token_set, length, seed, first, count):
    whole = PackedRows(token_set, "train", length, seed).rows(first, count)
    fresh = PackedRows(token_set, "train", length, seed)
    alone = [fresh.rows(first + i, 1) for i in reversed(range(count))]
    assert_equal(whole, joined(alone[::-1]))


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_ranks_slice_one_global_batch(token_set, ranks):
    batch = PackedRows(token_set, "train", 64, 5).rows(7 * 12, 12)
    share = 12 // ranks
    slices = [PackedRows(token_set, "train", 64, 5).rows(7 * 12 + r * share, share) for r in range(ranks)]
    assert_equal(batch, joined(slices))


@settings(deadline=None, max_examples=30)
@given(length=st.integers(1, 300), first=st.integers(0, 400), count=st.integers(1, 8))
def test_segments_and_positions_are_those_of_the_pieces(token_set, length, first, count):
    """Against the definition: walk the stream; a new segment begins at a row's start and after each EOS target."""
    rows = PackedRows(token_set, "train", length, 3).rows(first, count)
    for row in range(count):
        segment, position = 0, 0
        for column in range(length):
            if column and rows["tokens"][row, column] == token_set.boundary_id:
                segment, position = segment + 1, 0
            assert (rows["segments"][row, column], rows["positions"][row, column]) == (segment, position)
            position += 1


def test_within_a_segment_targets_are_the_next_tokens(token_set):
    rows = PackedRows(token_set, "train", 200, 1).rows(0, 40)
    same = rows["segments"][:, 1:] == rows["segments"][:, :-1]
    np.testing.assert_array_equal(rows["tokens"][:, 1:][same], rows["targets"][:, :-1][same])
    assert (rows["targets"][:, :-1][~same] == token_set.boundary_id).all()
    for key, kind in zip(KEYS, [np.int64] * 4 + [np.bool_], strict=True):
        assert rows[key].dtype == kind
        assert rows[key].shape == (40, 200)


def test_each_epoch_and_seed_has_an_order_of_its_own(token_set):
    size = PackedRows(token_set, "train", 1, 0).pairs_per_epoch
    streams = {
        tuple(PackedRows(token_set, "train", size, seed).rows(epoch, 1)["targets"].ravel().tolist())
        for seed in (0, 1)
        for epoch in (0, 1, 2)
    }
    assert len(streams) == 6


def test_evaluation_is_one_pass_in_order_with_a_padded_end(token_set):
    rows = EvaluationRows(token_set, "validation", 100)
    got = joined([rows.rows(i, 3) for i in range(0, rows.count, 3)])
    expected = list(pairs_of(all_documents(token_set, "validation"), token_set.boundary_id))
    keep = got["keep"]
    assert list(zip(got["tokens"][keep].tolist(), got["targets"][keep].tolist(), strict=True)) == expected
    assert keep.sum() == rows.pairs == len(expected)
    assert keep.ravel()[: rows.pairs].all()
    assert not keep.ravel()[rows.pairs :].any()
    assert rows.bytes == token_set.bytes("validation").sum()
    padding = got["segments"][-1][~keep[-1]]
    assert len(padding)
    assert padding.min() > got["segments"][-1][keep[-1]].max()
    with pytest.raises(InputError, match="evaluation row"):
        rows.rows(rows.count, 1)


def test_an_evaluation_sample_is_of_whole_documents_and_always_the_same(token_set):
    whole = EvaluationRows(token_set, "validation", 32)
    sample = EvaluationRows(token_set, "validation", 32, most_pairs=whole.pairs // 2)
    assert 0 < sample.documents < whole.documents
    assert sample.pairs <= whole.pairs // 2
    assert_equal(sample.rows(0, 2), EvaluationRows(token_set, "validation", 32, most_pairs=whole.pairs // 2).rows(0, 2))
    assert EvaluationRows(token_set, "validation", 32, most_pairs=1).documents == 1


def test_wrong_requests_are_refused(token_set):
    with pytest.raises(InputError, match="row length of 0"):
        PackedRows(token_set, "train", 0, 0)
    with pytest.raises(InputError, match="at least one row"):
        PackedRows(token_set, "train", 8, 0).rows(0, 0)
    with pytest.raises(InputError, match="at least one row"):
        PackedRows(token_set, "train", 8, 0).rows(-1, 2)


@settings(deadline=None, max_examples=30)
@given(length=st.integers(1, 300), before=st.integers(0, 2), after=st.integers(0, 2), first=st.integers(0, 900))
def test_whole_documents_with_what_stands_around_them(token_set, length, before, after, first):
    """Against the definition, and each row a pure function of its number."""
    begin, end = (301, 302)[:before], (303, 304)[:after]
    expected = [i for d in all_documents(token_set, "validation") for i in (*begin, *map(int, d), *end)]
    once = EvaluationRows(token_set, "validation", length, around=(begin, end))
    got = joined([once.rows(i, 3) for i in range(0, once.count, 3)])
    assert got["tokens"][got["keep"]].tolist() == expected
    assert once.pairs == len(expected)
    np.testing.assert_array_equal(got["tokens"], got["targets"])
    packed = PackedRows(token_set, "train", length, 3, around=(begin, end))
    rows = packed.rows(first, 3)
    assert_equal(rows, joined([packed.rows(first + i, 1) for i in range(3)]))
    assert rows["keep"].all()
    if begin:  # a document begins with it, and nowhere else does a segment begin but at a row's edge
        starts = rows["positions"][:, 1:] == 0
        np.testing.assert_array_equal(starts, rows["tokens"][:, 1:] == begin[0])


def test_every_token_and_its_surroundings_once_an_epoch(token_set):
    packed = PackedRows(token_set, "train", 64, 1, around=((301,), (302,)))
    expected = Counter(i for d in all_documents(token_set) for i in (301, *map(int, d), 302))
    rows = packed.rows(0, packed.rows_per_epoch)
    stream = rows["tokens"][np.argsort([packed.place(r) for r in range(packed.rows_per_epoch)])].ravel()
    assert packed.pairs_per_epoch == expected.total()
    assert Counter(stream[: packed.pairs_per_epoch].tolist()) == expected


@pytest.mark.parametrize(
    ("options", "around"),
    [
        ({"kind": "wordpiece", "vocabulary": 400}, ((2,), (3,))),
        ({"kind": "characters", "specials": "esm"}, ((0,), (2,))),
        ({"kind": "unigram", "vocabulary": 500}, ((), (1,))),
        ({"vocabulary": 300}, ((0,), ())),
    ],
    ids=["bert", "esm", "t5", "document"],
)
def test_a_document_is_as_its_tokenizer_gives_it(built, stages, tmp_path, options, around):
    """What an encoder learns from is what the released model will be given."""
    tokenizer = produce(
        TRAIN_TOKENIZER, TrainTokenizerConfig(**options), {"corpus": built.corpus}, tmp_path / "tokenizer",
        name="tokenizer", console=Console.quiet(),
    )  # fmt: skip
    tokens = TokenSet.open(stages.tokenize(built.corpus, tokenizer, tmp_path / "tokens"))
    made = tokens.tokenizer()
    table = pq.read_table(built.corpus.file("part-00000.parquet")).to_pylist()
    expected = [made.encode(row["text"], post_process=True) for row in table if row["split"] == "validation"]
    assert made.around == around
    for length in {len(ids) for ids in expected}:
        rows = EvaluationRows(tokens, "validation", length, around=made.around)
        got = joined([rows.rows(i, 1) for i in range(rows.count)])
        assert got["tokens"][got["keep"]].tolist() == [i for ids in expected for i in ids]
    whole = EvaluationRows(tokens, "validation", sum(map(len, expected)), around=made.around).rows(0, 1)
    for number, ids in enumerate(expected):
        assert whole["tokens"][whole["segments"] == number].tolist() == ids
