"""Exact duplicates: found all, and only they; the same one stays however the corpus is cut."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedplate.data.deduplicate import exact, index
from bedplate.data.deduplicate import runs as sorted_runs
from bedplate.data.deduplicate.config import DeduplicateConfig, ExactConfig
from bedplate.data.deduplicate.exact import _normalised, _normalised_digest, normalised, run_it
from bedplate.data.deduplicate.shingles import utf8
from bedplate.errors import ArtefactError, UserError


def identity(text):
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def expected(texts, key):
    """What a plain loop says of each text."""
    first, said = {}, []
    for text in texts:
        if not text.strip():
            said.append(None)
        elif key(text) in first:
            one = first[key(text)]
            said.append(("exact_duplicate" if one == text else "normalised_duplicate", identity(one)))
        else:
            first[key(text)] = text
            said.append(None)
    return said


TEXTS = st.lists(st.sampled_from(["a b", "A  b!", "c", "", "  ", "12", "13", "é 7", "É 8.", "१२ क", "x"]), max_size=40)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS, st.integers(1, 45), st.integers(1, 8), st.booleans(), st.booleans())
def test_is_a_plain_loop_however_it_is_cut(
    tmp_path_factory, make_shards, make_run, told, texts, per_shard, size, normalise, backwards
):
    folder = tmp_path_factory.mktemp("exact")
    shards = make_shards(folder / "shards", texts, per_shard)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "ranges", lambda count: sorted_runs.ranges(count, size))
        decision = run_it(shards, ExactConfig(normalise=normalise), make_run(folder / "run", backwards=backwards))

    def key(text):
        plain = normalised(text)
        return plain if normalise and plain.strip("0 ") else text

    said = expected(texts, key)
    assert told(shards, decision) == said
    dropped = [one for one in said if one]
    assert decision.measures["dropped"] == {r: sum(d[0] == r for d in dropped) for r in sorted({d[0] for d in dropped})}
    assert decision.measures["read"] == len(texts) == decision.measures["kept"] + len(dropped)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello, World! 12", "hello world 13"),
        ("ﬁne ＡＢＣ", "fine abc"),
        ("Straße — “so”", "STRASSE so"),
        ("a\n\n b\tc", "a b c"),
        ("हिन्दी, १", "हिन्दी 2"),
    ],
)
def test_normalised_texts_are_the_same(one, other):
    assert normalised(one) == normalised(other)
    assert _normalised(one.encode()) == _normalised(other.encode())


@pytest.mark.parametrize(("one", "other"), [("ab", "a b"), ("का", "कि"), ("a 1", "a"), ("résumé", "resume")])
def test_normalised_texts_differ(one, other):
    assert normalised(one) != normalised(other)


@given(st.text(st.characters(max_codepoint=127)))
def test_the_short_way_for_ascii_is_the_long_one(text):
    assert _normalised(text.encode()) == normalised(text).encode()


@given(st.lists(st.sampled_from(["é", "Ab,", "12", "7", "’", "\n", "x"]), min_size=1, max_size=40), st.integers(8, 60))
def test_a_long_text_is_normalised_in_pieces(words, piece):
    text = " ".join(words)
    plain = normalised(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bedplate.data.deduplicate.shingles.PIECE", piece)
        digest = _normalised_digest(*utf8([text]))
    assert digest == (hashlib.sha256(plain.encode()).digest() if plain.strip("0 ") else None)


def test_tables_of_numbers_are_not_all_the_same(tmp_path, make_shards, make_run, told):
    shards = make_shards(tmp_path / "shards", ["1 2 3", "4 5 6", "1 2 3"])
    said = told(shards, run_it(shards, ExactConfig(normalise=True), make_run(tmp_path / "run")))
    assert [one and one[0] for one in said] == [None, None, "exact_duplicate"]


@pytest.mark.parametrize(
    ("keep", "stays"),
    [("first", 0), ("longest", 2), ("earliest", 1), ("licensed", 3)],
)
def test_the_copy_that_stays_is_the_one_asked_for(tmp_path, make_shards, make_run, told, column, keep, stays):
    rows = [
        {"text": "One two", "date": None, "license": None},
        {"text": "one two", "date": "1999-05"},
        {"text": "One, two.", "date": "1999-05-02T01:00:00Z", "license": "unknown"},
        {"text": "one two!", "date": "2001", "license": "CC-BY-4.0"},
        {"text": "one TWO", "date": "not known", "license": "MIT"},
    ]
    shards = make_shards(tmp_path / "shards", rows, 2)
    decision = run_it(shards, ExactConfig(normalise=True), make_run(tmp_path / "run"), keep=keep)
    said = told(shards, decision)
    assert [i for i, one in enumerate(said) if one is None] == [stays]
    assert {one[1] for one in said if one} == {identity(rows[stays]["text"])}
    assert column(shards, decision, "exact_copies")[stays] == 4


def test_what_was_left_out_before_is_no_ones_copy(tmp_path, make_shards, make_run, told):
    rows = [{"text": "same", "status": "dropped"}, "same", "other", "same"]
    shards = make_shards(tmp_path / "shards", rows, 3)
    decision = run_it(shards, ExactConfig(), make_run(tmp_path / "run"))
    assert [bool(one) for one in told(shards, decision)] == [False, False, False, True]
    assert decision.measures["read"] == 3


def test_an_earlier_corpus_always_wins(tmp_path, make_shards, make_run, told):
    old = make_shards(tmp_path / "old", ["a", "b", "a", "c"], 2)
    run = make_run(tmp_path / "one")
    first = run_it(old, ExactConfig(), run)
    config = ExactConfig().semantic()
    keys = {"exact": (tmp_path / "one" / "exact-keys", config)}
    index.write_index(tmp_path / "index", old.after(first.folder), keys)
    new = make_shards(tmp_path / "new", [{"text": "c"}, {"text": "d"}, {"text": "b"}, {"text": "d"}], 3)
    second = run_it(new, ExactConfig(), make_run(tmp_path / "two"), keep="longest", earlier=tmp_path / "index")
    assert [one and one[1] for one in told(new, second)] == [identity("c"), None, identity("b"), identity("d")]

    # An index goes on another one.
    keys = {"exact": (tmp_path / "two" / "exact-keys", config)}
    index.write_index(tmp_path / "both", new.after(second.folder), keys, earlier=tmp_path / "index")
    third = make_shards(tmp_path / "third", ["d", "a", "e"])
    said = told(third, run_it(third, ExactConfig(), make_run(tmp_path / "three"), earlier=tmp_path / "both"))
    assert [bool(one) for one in said] == [True, True, False]

    with pytest.raises(UserError, match="normalise"):
        run_it(third, ExactConfig(normalise=True), make_run(tmp_path / "four"), earlier=tmp_path / "both")
    (tmp_path / "both" / "index.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ArtefactError, match="format 99"):
        run_it(third, ExactConfig(), make_run(tmp_path / "five"), earlier=tmp_path / "both")
    assert not (tmp_path / "five").exists()


def test_the_configuration_names_its_sections():
    config = DeduplicateConfig(exact=ExactConfig())
    assert config.minhash is None
    assert config.semantic()["keep"] == "first"
