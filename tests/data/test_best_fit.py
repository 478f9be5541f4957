"""Rows packed by best fit: every pair once an epoch, no document cut that fits, and each row a pure function of its
number."""

from __future__ import annotations

import shutil
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.data.best_fit import BestFitRows, best_fit, training_rows
from bedplate.data.fim import FimRows, FimTokens
from bedplate.data.masking import MaskedRows
from bedplate.data.packing import PackedRows
from bedplate.data.prefix import PrefixRows
from bedplate.data.span_corruption import SpanRows
from bedplate.data.tokens import DocumentTable, TokenSet
from bedplate.errors import InputError

KEYS = ("tokens", "targets", "segments", "positions", "keep", "valid")
BOUNDARY = 0


@pytest.fixture(scope="session")
def token_set(built) -> TokenSet:
    return TokenSet.open(built.tokens)


class Documents:
    """As much of a `TokenSet` as rows are made of, with documents of given lengths; no token comes twice."""

    boundary_id = BOUNDARY
    folder = "memory"

    def __init__(self, lengths, phases=None):
        length = np.array(lengths, dtype=np.int64)
        start = np.cumsum(length) - length
        phase = None if phases is None else np.array(phases, dtype=np.int64)
        self.table = DocumentTable(np.zeros_like(length), start, length, length, len(length), phase)

    def documents(self, split):
        return self.table

    def document(self, split, index):
        start = int(self.table.start[index])
        return np.arange(start, start + int(self.table.length[index])) + 1

    def gather(self, split, shard, offset):
        return offset + 1


def pieces_of(tokens, length, around=None):
    """The definition, in plain Python: each document's pairs, cut where it is longer than a row and nowhere else."""
    for i in range(len(tokens.documents("train"))):
        document = list(map(int, tokens.document("train", i)))
        if around is None:
            pairs = list(pairwise([tokens.boundary_id, *document, tokens.boundary_id]))
        else:
            pairs = [(t, t) for t in [*around[0], *document, *around[1]]]
        for at in range(0, len(pairs), length):
            yield tuple(pairs[at : at + length])


def pieces_in(rows):
    """What each row holds, a list of pieces; its padding left out."""
    for tokens, targets, segments, keep in zip(*(rows[key] for key in KEYS[:3] + KEYS[4:5]), strict=True):
        pairs = list(zip(tokens.tolist(), targets.tolist(), strict=True))
        edges = [0, *(np.flatnonzero(np.diff(segments)) + 1).tolist(), len(pairs)]
        yield [tuple(pairs[a:b]) for a, b in pairwise(edges) if keep[a]]


def epoch_of(packed, epoch):
    return packed.rows(epoch * packed.rows_per_epoch, packed.rows_per_epoch)


def joined(parts):
    return {key: np.concatenate([part[key] for part in parts]) for key in KEYS}


def assert_equal(a, b):
    for key in KEYS:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def naive_best_fit(sizes, length):
    """One piece after another, looking through all rows."""
    rooms, since, found = [], [], [0] * len(sizes)
    for clock, i in enumerate(sorted(range(len(sizes)), key=lambda i: -sizes[i])):
        fitting = [row for row, room in enumerate(rooms) if room >= sizes[i]]
        if not fitting:
            rooms.append(length)
            since.append(clock)
            fitting = [len(rooms) - 1]
        row = min(fitting, key=lambda row: (rooms[row], since[row]))
        rooms[row] -= sizes[i]
        since[row] = clock
        found[i] = row
    return found


@settings(deadline=None, max_examples=200)
@given(data=st.data(), length=st.integers(1, 40))
def test_it_is_best_fit_decreasing(data, length):
    sizes = data.draw(st.lists(st.integers(1, length), max_size=120))
    assert best_fit(np.array(sizes, dtype=np.int64), length).tolist() == naive_best_fit(sizes, length)


def test_many_pieces_of_many_sizes_are_placed_as_one_by_one():
    random = np.random.Generator(np.random.PCG64(1))
    sizes = np.minimum(random.geometric(1 / 60, 3000), 300)
    assert best_fit(sizes, 300).tolist() == naive_best_fit(sizes.tolist(), 300)
    # Rows longer than 16 bits can number are sorted in another way.
    sizes = random.integers(1, 70_000, 300)
    assert best_fit(sizes, 70_000).tolist() == naive_best_fit(sizes.tolist(), 70_000)


@settings(deadline=None, max_examples=100)
@given(
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=60),
    length=st.integers(1, 40),
    seed=st.integers(0, 2**63 - 1),
    around=st.sampled_from([None, ((9001,), (9002,)), ((), (9003,)), ((), ())]),
)
def test_every_pair_once_an_epoch_and_no_document_cut_that_fits(lengths, length, seed, around):
    if around == ((), ()):
        lengths = [*lengths, 1]  # something has to be there
    tokens = Documents(lengths)
    packed = BestFitRows(tokens, "train", length, seed, around=around)
    expected = Counter(pieces_of(tokens, length, around))
    for epoch in (0, 2):
        rows = epoch_of(packed, epoch)
        assert Counter(piece for row in pieces_in(rows) for piece in row) == expected
        assert rows["keep"].sum() == packed.pairs_per_epoch
        assert rows["keep"].any(axis=1).all()
        assert (~rows["keep"][:, :-1] <= ~rows["keep"][:, 1:]).all()  # padding comes last
    measures = packed.measures()
    assert measures["padding"] == pytest.approx(1 - rows["keep"].mean())
    whole = pieces_of(tokens, 10**6, around)
    assert measures["cut_documents"] == sum(len(pairs) > length for pairs in whole)


@settings(deadline=None, max_examples=20)
@given(length=st.integers(1, 700), seed=st.integers(0, 2**63 - 1))
def test_of_a_real_artefact_too(token_set, length, seed):
    packed = BestFitRows(token_set, "train", length, seed)
    found = Counter(piece for row in pieces_in(epoch_of(packed, 1)) for piece in row)
    assert found == Counter(pieces_of(token_set, length))
    assert packed.pairs_per_epoch == PackedRows(token_set, "train", length, seed).pairs_per_epoch


@settings(deadline=None, max_examples=30)
@given(length=st.integers(1, 300), seed=st.integers(0, 9), first=st.integers(0, 5000), count=st.integers(1, 12))
def test_a_row_is_a_pure_function_of_seed_and_number(token_set, length, seed, first, count):
    """Wherever a run resumes and however a batch is sliced, also across the edge of an epoch."""
    packed = BestFitRows(token_set, "train", length, seed)
    for at in (first, packed.rows_per_epoch - 1):
        fresh = BestFitRows(token_set, "train", length, seed)
        alone = [fresh.rows(at + i, 1) for i in reversed(range(count))]
        assert_equal(packed.rows(at, count), joined(alone[::-1]))


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_ranks_slice_one_global_batch(token_set, ranks):
    batch = BestFitRows(token_set, "train", 64, 5).rows(7 * 12, 12)
    share = 12 // ranks
    slices = [BestFitRows(token_set, "train", 64, 5).rows(7 * 12 + r * share, share) for r in range(ranks)]
    assert_equal(batch, joined(slices))


def test_rows_are_as_packed_rows_with_padding_as_a_segment_of_its_own(token_set):
    packed = BestFitRows(token_set, "train", 200, 1)
    rows = epoch_of(packed, 0)
    for key in KEYS:
        assert rows[key].dtype == (np.bool_ if key in ("keep", "valid") else np.int64)
        assert rows[key].shape == (packed.rows_per_epoch, 200)
    np.testing.assert_array_equal(rows["keep"], rows["valid"])
    padded = 0
    shown = ("segments", "positions", "keep", "tokens")
    for segments, positions, keep, tokens in zip(*(rows[key] for key in shown), strict=True):
        assert segments[0] == 0
        assert set(np.diff(segments).tolist()) <= {0, 1}
        for number in range(segments[-1] + 1):
            there = segments == number
            assert len(set(keep[there].tolist())) == 1
            assert positions[there].tolist() == list(range(there.sum()))
        assert (tokens[~keep] == token_set.boundary_id).all()
        padded += not keep[-1]
    assert padded


def test_each_epoch_and_seed_has_an_order_of_its_own_and_an_epoch_the_same_rows(token_set):
    orders = {}
    for seed in (0, 1):
        packed = BestFitRows(token_set, "train", 64, seed)
        for epoch in (0, 1, 2):
            orders[seed, epoch] = tuple(tuple(row) for row in pieces_in(epoch_of(packed, epoch)))
        places = [packed.place(row) for row in range(2 * packed.rows_per_epoch)]
        assert sorted(places) == list(range(len(places)))
    assert len(set(orders.values())) == 6
    assert Counter(orders[0, 0]) == Counter(orders[0, 2])
    assert sorted(map(row_lengths, orders[0, 0])) == sorted(map(row_lengths, orders[1, 0]))


def row_lengths(row):
    return sorted(map(len, row))


@settings(deadline=None, max_examples=60)
@given(
    documents=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 4)), min_size=1, max_size=50),
    length=st.integers(1, 40),
)
def test_phases_come_in_order_and_share_no_row(documents, length):
    tokens = Documents(*zip(*documents, strict=True))
    packed = BestFitRows(tokens, "train", length, 3)
    of_token = np.repeat(tokens.table.phase, tokens.table.length)
    seen = []
    for row in pieces_in(epoch_of(packed, 1)):
        phases = {int(of_token[t - 1]) for piece in row for pair in piece for t in pair if t != BOUNDARY}
        assert len(phases) <= 1  # none for an empty document
        seen += phases
    assert seen == sorted(seen)
    found = Counter(piece for row in pieces_in(epoch_of(packed, 0)) for piece in row)
    assert found == Counter(pieces_of(tokens, length))


def test_documents_are_seen_as_often_as_they_have_copies(built, tmp_path):
    folder = tmp_path / "tokens"
    shutil.copytree(built.tokens.path, folder)
    table = pq.read_table(folder / "documents.parquet")
    for name, values in (("copies", [1, 2, 3]), ("phase", [0, 1])):
        column = pa.array(np.resize(values, len(table)), pa.int32())
        table = table.set_column(table.schema.get_field_index(name), name, column)
    pq.write_table(table, folder / "documents.parquet")
    given_ = TokenSet.open(built.tokens)
    tokens = TokenSet(
        folder, vocab_size=given_.vocab_size, boundary_id=given_.boundary_id, fingerprint=given_.fingerprint
    )
    packed = BestFitRows(tokens, "train", 64, 3)
    found = Counter(piece for row in pieces_in(epoch_of(packed, 0)) for piece in row)
    assert found == Counter(pieces_of(tokens, 64))
    assert len(tokens.documents("train")) > len(given_.documents("train"))


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=30),
    length=st.integers(1, 40),
    epoch=st.integers(0, 2),
)
def test_the_rows_of_a_document_are_those_that_hold_it(lengths, length, epoch):
    tokens = Documents(lengths)
    packed = BestFitRows(tokens, "train", length, 3, around=((), (9000,)))
    rows = epoch_of(packed, epoch)["tokens"]
    for document, size in enumerate(lengths):
        found = packed.rows_with(document, epoch)
        held = np.isin(rows, tokens.document("train", document)).any(axis=1)
        # Its end, which is the same for all, may stand alone in a row.
        assert set(epoch * packed.rows_per_epoch + np.flatnonzero(held)) <= set(found.tolist())
        assert len(found) == -(-(size + 1) // length)
        assert (np.diff(found) > 0).all()


def test_objectives_leave_padding_alone(token_set):
    packed = BestFitRows(token_set, "train", 200, 1)
    count = packed.rows_per_epoch
    there = packed.rows(0, count)["keep"]
    assert not there.all()
    masked = MaskedRows(packed, 0, vocabulary=300, mask_id=299, special=(token_set.boundary_id,)).rows(0, count)
    assert (masked["keep"] <= there).all()
    assert masked["keep"].any(axis=1).all()
    prefixed = PrefixRows(packed, 0).rows(0, count)
    assert (prefixed["keep"] <= there).all()
    assert prefixed["keep"].any()
    spans = SpanRows(packed, 0, length=200, sentinels=range(300, 340), eos=298, start=297, pad=297).rows(0, count)
    # Each token of a text is shown or told once, and nothing of the padding is.
    shown = np.isin(spans["tokens"], range(297, 340), invert=True) & spans["valid"]
    told = np.isin(spans["targets"], range(297, 340), invert=True) & spans["keep"]
    expected = (np.isin(packed.rows(0, count)["targets"], range(297, 340), invert=True) & there).sum(axis=1)
    np.testing.assert_array_equal(shown.sum(axis=1) + told.sum(axis=1), expected)
    turned = FimRows(packed, 0, length=240, tokens=FimTokens(300, 301, 302, token_set.boundary_id)).rows(0, count)
    np.testing.assert_array_equal(turned["keep"], turned["valid"])
    marks = np.isin(turned["targets"], (300, 301, 302)) & turned["keep"]
    assert marks.any()
    assert (turned["keep"].sum(axis=1) >= there.sum(axis=1)).all()


def test_a_configuration_says_which(token_set):
    assert isinstance(training_rows("stream", token_set, 64, 0), PackedRows)
    found = training_rows("best_fit", token_set, 64, 0, around=((301,), ()))
    assert isinstance(found, BestFitRows)
    assert found.pairs_per_epoch == PackedRows(token_set, "train", 64, 0, around=((301,), ())).pairs_per_epoch


def test_wrong_requests_are_refused(token_set):
    with pytest.raises(InputError, match="row length of 0"):
        BestFitRows(token_set, "train", 0, 0)
    with pytest.raises(InputError, match="at least one row"):
        BestFitRows(token_set, "train", 8, 0).rows(-1, 2)
