"""Fill-in-the-middle: rows stay next-token rows, and every document can be put together again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.codecs.byt5 import byt5_definition
from bedplate.codecs.text import TextTokenizer
from bedplate.data.fim import KEYS, FimRows, FimTokens
from bedplate.data.packing import EvaluationRows, PackedRows
from bedplate.data.tokens import TokenSet
from bedplate.errors import InputError


@pytest.fixture(scope="session")
def token_set(built) -> TokenSet:
    return TokenSet.open(built.tokens)


def names(tokens):
    return FimTokens(*range(tokens.vocab_size, tokens.vocab_size + 3), tokens.boundary_id)


def segments(rows, i):
    """Each segment's tokens with the last target, where it is supervised."""
    for number in range(int(rows["segments"][i].max()) + 1):
        here = rows["segments"][i] == number
        inputs, targets = rows["tokens"][i][here], rows["targets"][i][here]
        assert rows["positions"][i][here].tolist() == list(range(len(inputs)))
        if rows["keep"][i][here].all():
            assert inputs[1:].tolist() == targets[:-1].tolist()  # a next-token row
            yield [*inputs.tolist(), int(targets[-1])]


def put_together(whole, fim):
    """(prefix, middle, suffix) of a rearranged segment with the boundary at its end, or None."""
    if fim.middle not in whole:
        return None
    assert whole[-1] == fim.boundary
    body = whole[1 if whole[0] == fim.boundary else 0 : -1]
    assert body[0] == fim.prefix
    at, then = body.index(fim.suffix), body.index(fim.middle)
    prefix, suffix, rest = body[1:at], body[at + 1 : then], body[then + 1 :]
    # Of SPM the prefix stands with the middle, which its sentinels don't part.
    return prefix, rest, suffix


@settings(deadline=None, max_examples=40)
@given(
    length=st.integers(1, 200),
    room=st.integers(0, 30),
    rate=st.floats(0, 1),
    seed=st.integers(0, 9),
    first=st.integers(0, 900),
    count=st.integers(1, 4),
    characters=st.booleans(),
)
def test_documents_can_be_put_together_again(token_set, length, room, rate, seed, first, count, characters):
    fim, tokenizer = names(token_set), token_set.tokenizer()
    source = PackedRows(token_set, "train", length, 1)
    pieces = tokenizer if characters else None
    made = FimRows(source, seed, length=length + room, tokens=fim, rate=rate, pieces=pieces)
    rows, plain = made.rows(first, count), source.rows(first, count)
    for i in range(count):
        expected = list(segments(plain, i))
        found = list(segments(rows, i))
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            parts = put_together(ours, fim)
            if parts is None:
                assert ours == theirs
                continue
            begin, end = theirs[0] == fim.boundary, theirs[-1] == fim.boundary
            assert (ours[0] == fim.boundary) == begin
            body = theirs[int(begin) : len(theirs) - int(end)]
            if characters:
                assert "".join(map(tokenizer.decode, parts)) == tokenizer.decode(body)
            else:
                assert [token for part in parts for token in part] == body
        assert rows["keep"][i].sum() + (~rows["keep"][i]).sum() == length + room
    alone = [made.rows(first + i, 1) for i in range(count)]
    for key in KEYS:
        np.testing.assert_array_equal(rows[key], np.concatenate([row[key] for row in alone]))
        assert rows[key].dtype == plain[key].dtype


@pytest.mark.parametrize("characters", [False, True])
def test_shares_and_both_orders(token_set, characters):
    fim = names(token_set)
    source = PackedRows(token_set, "train", 128, 1)
    pieces = token_set.tokenizer() if characters else None
    whole = FimRows(source, 2, length=192, tokens=fim, rate=0.6, suffix_first=0.25, pieces=pieces)
    # Segments of nothing but the boundary have nothing to rearrange.
    rows = whole.rows(0, 200)
    all_segments = [s for i in range(200) for s in segments(rows, i) if set(s) != {fim.boundary}]
    moved = [s for s in all_segments if fim.middle in s]
    assert len(moved) / len(all_segments) == pytest.approx(0.6, abs=5 * (0.24 / len(all_segments)) ** 0.5)
    # SPM puts the suffix's sentinel right behind the prefix's; an empty prefix looks the same.
    spm = sum(s[s.index(fim.prefix) + 1] == fim.suffix for s in moved) / len(moved)
    assert spm == pytest.approx(0.25, abs=5 * (0.19 / len(moved)) ** 0.5 + 0.05)
    assert len({len(put_together(s, fim)[2]) for s in moved}) > 10


def test_psm_and_spm_as_the_paper_writes_them():
    fim = FimTokens(90, 91, 92, 99)
    prefix, middle, suffix = np.array([1, 2]), np.array([3]), np.array([4, 5])
    assert fim.arranged(prefix, middle, suffix, suffix_first=False).tolist() == [90, 1, 2, 91, 4, 5, 92, 3]
    assert fim.arranged(prefix, middle, suffix, suffix_first=True).tolist() == [90, 91, 4, 5, 92, 1, 2, 3]


def test_padding_stays_padding(token_set):
    source = EvaluationRows(token_set, "validation", 100)
    last = source.rows(source.count - 1, 1)
    rows = FimRows(source, 0, length=140, tokens=names(token_set), rate=1.0).rows(source.count - 1, 1)
    assert rows["keep"].sum() >= last["keep"].sum() > 0
    assert (rows["targets"][~rows["keep"]] == token_set.boundary_id).all()


def test_wrong_settings_are_refused(token_set):
    source = PackedRows(token_set, "train", 64, 1)
    with pytest.raises(InputError, match="rows of 64 tokens in rows of 60"):
        FimRows(source, 0, length=60, tokens=names(token_set)).rows(0, 1)
    with pytest.raises(InputError, match="rate 2"):
        FimRows(source, 0, length=80, tokens=names(token_set), rate=2)


class OneRow:
    """A source of one row of one document."""

    def __init__(self, ids, keep=None):
        self.row = {
            "tokens": np.array([ids[:-1]]), "targets": np.array([ids[1:]]),
            "segments": np.zeros((1, len(ids) - 1), dtype=np.int64), "positions": np.arange(len(ids) - 1)[None],
            "keep": np.ones((1, len(ids) - 1), dtype=bool) if keep is None else np.array([keep]),
        }  # fmt: skip

    def rows(self, first, count):
        return self.row


def assert_as_it_was(source, made):
    width = source.row["tokens"].shape[1]
    for key in KEYS:
        np.testing.assert_array_equal(made[key][:, :width], source.row[key], err_msg=key)


@pytest.mark.parametrize("place", [0, 3, 7])
def test_a_document_that_is_not_learnt_whole_stays_as_it_is(place):
    """Its places that aren't kept would be among those that are."""
    fim = FimTokens(90, 91, 92, 99)
    for seed in range(5):
        whole = OneRow([99, *range(7), 99])
        assert 92 in FimRows(whole, seed, length=16, tokens=fim, rate=1.0).rows(0, 1)["tokens"]
        source = OneRow([99, *range(7), 99], keep=[i != place for i in range(8)])
        assert_as_it_was(source, FimRows(source, seed, length=16, tokens=fim, rate=1.0).rows(0, 1))


def test_a_text_that_begins_inside_a_character_stays_as_it_is():
    """Else half a character would become U+FFFD, which the document doesn't have."""
    pieces = TextTokenizer(*byt5_definition())
    fim = FimTokens(260, 261, 262, 1)
    ids = pieces.encode("日本 text")
    for seed in range(5):
        for cut, moved in ((0, True), (1, False), (2, False), (3, True)):
            source = OneRow([*([1] if not cut else []), *ids[cut:], 1])
            made = FimRows(source, seed, length=40, tokens=fim, rate=1.0, pieces=pieces).rows(0, 1)
            if moved:
                assert 262 in made["tokens"]
            else:
                assert_as_it_was(source, made)


def test_room_that_is_left_does_not_exist(token_set):
    made = FimRows(PackedRows(token_set, "train", 100, 1), 0, length=140, tokens=names(token_set), rate=0.2).rows(0, 4)
    assert not made["valid"].all()
    np.testing.assert_array_equal(made["valid"], made["keep"])
