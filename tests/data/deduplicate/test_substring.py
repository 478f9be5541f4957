"""Repeated runs of words against the plainest way of finding them, whatever the shards, partitions and blocks are."""

from __future__ import annotations

import random
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bedplate.console import Console
from bedplate.data import words as words_module
from bedplate.data.curation.shards import Shards
from bedplate.data.deduplicate import substring_files, substring_owners
from bedplate.data.deduplicate.substring import run_substring
from bedplate.data.deduplicate.substring_config import SubstringConfig
from bedplate.data.deduplicate.substring_cut import without
from bedplate.data.engine.local import LocalProcesses
from bedplate.data.engine.tasks import InProcess, Run
from bedplate.data.words import WordReader, ngrams


def make_shards(folder, shards: list[list[str | None]]) -> Shards:
    """Shards of texts; None is one that was left out before."""
    for number, texts in enumerate(shards):
        (folder / f"{number:05d}").mkdir(parents=True)
        columns = {
            "id": [f"{number}-{row}" for row in range(len(texts))],
            "text": ["left out" if text is None else text for text in texts],
            "status": ["dropped" if text is None else "kept" for text in texts],
        }
        table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
        pq.write_table(table, folder / f"{number:05d}" / "documents.parquet", row_group_size=3)
    return Shards(folder, len(shards))


def decide(folder, shards: list[list[str | None]], **config):
    """What became of each document: {(shard, row): (fraction, new text, why dropped)}, and the measures."""
    made = make_shards(folder / "shards", shards)
    decision = run_substring(made, SubstringConfig(**config), Run(folder / "work", InProcess(), Console.quiet()))
    fates = {}
    for shard in range(made.count):
        place = decision.folder / f"{shard:05d}"
        columns = pq.read_table(place / "columns.parquet").to_pylist()
        texts = {row["row"]: row["text"] for row in pq.read_table(place / "texts.parquet").to_pylist()}
        reasons = {row["row"]: row["reason"] for row in pq.read_table(place / "verdicts.parquet").to_pylist()}
        for row in columns:
            number = row["row"]
            fates[shard, number] = (row["repeated_fraction"], texts.get(number), reasons.get(number))
    return fates, decision.measures


def naive(documents: list[list[str]], words: int, within: bool = True, stays=lambda words, repeated: True):
    """The words of each document that are in a run which occurred before in one that stays, list[set[int]].
    stays(words, repeated)."""
    runs: dict[tuple[str, ...], tuple[int, int]] = {}
    repeated: list[set[int]] = []
    for number, document in enumerate(documents):
        mine: set[int] = set()
        with_mine = dict(runs)
        for place in range(len(document) - words + 1):
            other, before = with_mine.setdefault(tuple(document[place : place + words]), (number, place))
            if other != number or (within and place - before >= words):
                mine.update(range(place, place + words))
        repeated.append(mine)
        if stays(len(document), len(mine)):
            runs = with_mine
    return repeated


@st.composite
def corpora(draw):
    """Documents that quote each other and themselves, of few words or many."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    vocabulary = [f"w{i}" for i in range(draw(st.sampled_from([1, 2, 5, 1000])))]
    documents: list[list[str]] = []
    for _ in range(draw(st.integers(1, 7))):
        document: list[str] = []
        for _ in range(rng.randrange(6)):
            quoted = rng.choice(documents) if documents and rng.random() < 0.6 else document
            if quoted and rng.random() < 0.7:
                first = rng.randrange(len(quoted))
                document = document + quoted[first : first + rng.randrange(30)]
            else:
                document = document + rng.choices(vocabulary, k=rng.randrange(25))
        documents.append(document)
    return documents


@settings(max_examples=60, deadline=None)
@given(
    documents=corpora(),
    words=st.sampled_from([10, 11, 13]),
    within=st.booleans(),
    action=st.sampled_from([("remove", 1), ("remove", 15), ("drop", 0.0), ("drop", 0.4), ("measure", None)]),
    shards=st.integers(1, 3),
    partition=st.sampled_from([16, 200, 1 << 20]),
    block=st.sampled_from([40, 200, 1 << 18]),
)
def test_finds_every_repeated_run_and_nothing_else(
    tmp_path_factory, documents, words, within, action, shards, partition, block
):
    folder = tmp_path_factory.mktemp("substring")
    size = -(-len(documents) // shards)
    texts = [" ".join(document) for document in documents]
    cut = [texts[i : i + size] for i in range(0, len(texts), size)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(substring_files, "PARTITION", partition)
        patch.setattr(substring_files, "HELD", 64)
        patch.setattr(words_module, "BLOCK", block)
        patch.setattr(substring_owners, "_AT_ONCE", block)
        action, limit = action
        limits = {"remove": {"least_words": limit}, "drop": {"most_repeated": limit}}.get(action, {})
        fates, measures = decide(folder, cut, words=words, within=within, action=action, **limits)

    def stays(count, repeated):
        if action == "remove":
            return not repeated or count - repeated >= limit
        return action == "measure" or repeated <= limit * count

    expected = naive(documents, words, within, stays)
    for number, (document, repeated) in enumerate(zip(documents, expected, strict=True)):
        fraction, text, reason = fates[number // size, number % size]
        assert fraction == np.float32(len(repeated) / max(len(document), 1))
        left = [word for place, word in enumerate(document) if place not in repeated]
        assert reason == (None if stays(len(document), len(repeated)) else "repeated")
        if action == "remove" and reason is None:
            assert (texts[number] if text is None else text).split() == left
        assert (text is None) == (reason is not None or action != "remove" or not repeated)
    assert measures["read"] == len(documents) == measures["kept"] + sum(measures["dropped"].values())
    assert measures["repeated_words"] == sum(map(len, expected))


def test_two_workers_write_what_one_does(tmp_path):
    quote = " ".join(f"word{i}" for i in range(60))
    made = make_shards(tmp_path / "shards", [[f"{quote} {i}", f"{i} {quote} {'more ' * 30}{i}"] for i in range(3)])
    found = []
    for name, scheduler in {"one": InProcess(), "two": LocalProcesses(2)}.items():
        folder = run_substring(made, SubstringConfig(), Run(tmp_path / name, scheduler, Console.quiet())).folder
        found.append({path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))})
    assert found[0] == found[1]
    assert len(found[0]) == 9


def test_white_space_does_not_tell_runs_apart_and_cuts_are_clean(tmp_path):
    quote = " ".join(f"word{i}" for i in range(60))
    other = quote.replace(" ", "\n  ")
    fates, measures = decide(
        tmp_path, [[f"Before it. {quote} After it."], [f"One.\n\n{other}\n\nTwo three."]], least_words=2
    )
    assert fates[0, 0] == (0.0, None, None)
    assert fates[1, 0][1:] == ("One.\n\nTwo three.", None)
    assert measures["removed_bytes"] == len(f"One.\n\n{other}\n\nTwo three.") - len("One.\n\nTwo three.")


@pytest.mark.parametrize(
    ("text", "spans", "left"),
    [
        ("a b c", [(2, 3)], "a c"),
        ("a\nb c", [(2, 3)], "a\nc"),
        ("a\n\nb\nc", [(3, 4)], "a\n\nc"),
        ("a b c", [(0, 1)], "b c"),
        ("a b c ", [(4, 5)], "a b"),
        ("a b c", [(0, 1), (2, 3)], "c"),
        ("a b c d", [(2, 3), (4, 5)], "a d"),
        ("a b", [(0, 3)], ""),
        ("日本語", [(3, 6)], "日語"),
    ],
)
def test_a_cut_leaves_one_gap(text, spans, left):
    assert without(text.encode(), spans) == left


def test_drops_what_is_mostly_repeated_or_only_measures(tmp_path):
    quote = " ".join(f"word{i}" for i in range(60))
    documents = [[quote, None, f"{quote} and little else", quote + " more".join(map(str, range(100)))]]
    fates, measures = decide(tmp_path / "drop", documents, action="drop")
    assert [fates[0, row][2] for row in (0, 2, 3)] == [None, "repeated", None]
    assert (measures["read"], measures["dropped"]) == (3, {"repeated": 1})
    fates, measures = decide(tmp_path / "measure", documents, action="measure")
    assert all(fate[1:] == (None, None) for fate in fates.values())
    assert fates[0, 2][0] == pytest.approx(60 / 63)
    assert (measures["dropped"], measures["documents_with_repeats"]) == ({}, 2)


def some_words(start, count):
    return " ".join(f"word{number}" for number in range(start, start + count))


def test_what_only_stood_in_a_dropped_document_stays_in_the_next(tmp_path):
    """Of Z, Z with U, and U: the second goes for what is Z's in it, so the third is the first that has U."""
    known, own = some_words(0, 300), some_words(1000, 200)
    fates, _ = decide(tmp_path / "drop", [[known, f"{known} {own}"], [own, own]], action="drop")
    assert [fates[key][2] for key in sorted(fates)] == [None, "repeated", None, "repeated"]
    short = some_words(1000, 19)
    after = " ".join(known.split()[-40:])
    fates, _ = decide(tmp_path / "remove", [[known, f"{known} {short}"], [f"{after} {short} {some_words(2000, 30)}"]])
    assert fates[0, 1][2] == "repeated"
    assert fates[1, 0] == (0.0, None, None)


def test_settings_without_meaning_are_refused():
    for wrong in (
        {"action": "drop", "least_words": 5},
        {"most_repeated": 0.1},
        {"action": "measure", "least_words": 1},
    ):
        with pytest.raises(ValidationError, match="goes with action"):
            SubstringConfig(**wrong)
    config = SubstringConfig(action="drop", most_repeated=0.1)
    assert SubstringConfig.model_validate_json(config.model_dump_json()) == config


def test_too_few_words_left(tmp_path):
    quote = " ".join(f"word{i}" for i in range(60))
    documents = [[quote, f"{quote} and little else", f"{quote} {' '.join(map(str, range(20)))}"]]
    fates, _ = decide(tmp_path, documents)
    assert fates[0, 1][1:] == (None, "repeated")
    assert fates[0, 2][1:] == (" ".join(map(str, range(20))), None)


def test_scripts_without_spaces_count_by_character(tmp_path):
    text = "".join(chr(0x4E00 + 7 * i) for i in range(80))
    fates, _ = decide(tmp_path, [[text, "前" + text[:50] + "後の文"]], least_words=1)
    assert fates[0, 1][1] == "前後の文"


CHARACTERS = st.sampled_from("ab \n\xa0\u2003\u3000éß日本คน🙂\x00-’")


@settings(max_examples=100, deadline=None)
@given(
    texts=st.lists(st.lists(st.text(CHARACTERS, max_size=12), max_size=8).map(" ".join), max_size=5),
    block=st.sampled_from([64, 100, 1 << 18]),
)
def test_words_are_those_between_white_space(texts, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words_module, "BLOCK", block)
        found: dict[int, list[str]] = {}
        hashes: dict[str, int] = {}
        for words in WordReader("spaces").read((i, text.encode()) for i, text in enumerate(texts)):
            for j in range(len(words)):
                number, mine = int(words.document[j]), int(words.hashes[0][j])
                word = texts[number].encode()[words.start[j] : words.end[j]].decode()
                assert hashes.setdefault(word, mine) == mine
                assert int(words.place[j]) == len(found.setdefault(number, []))
                found[number].append(word)
    assert len(set(hashes.values())) == len(hashes)
    for number, text in enumerate(texts):
        assert found.get(number, []) == re.findall(r"[日本คน]|[^日本คน\s\x00]+", text)


def test_bytes_that_are_not_text_come_to_an_end(monkeypatch):
    monkeypatch.setattr(words_module, "BLOCK", 100)
    assert sum(map(len, WordReader("spaces").read([(0, b"\x80" * 250)]))) == 3


def test_a_word_without_end_is_cut(monkeypatch):
    monkeypatch.setattr(words_module, "BLOCK", 3000)
    text = "x " + "é" * 10_000 + " y"
    (words, *more) = WordReader("spaces").read([(0, text.encode())])
    for block in more:
        words = words.follow(block)
    pieces = [text.encode()[a:b].decode() for a, b in zip(words.start, words.end, strict=True)]
    assert pieces == ["x", *["é" * 256] * 39, "é" * 16, "y"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=0, max_size=60), st.integers(1, 20))
def test_hashes_of_runs_are_equal_where_the_runs_are(words, length):
    hashes = ngrams(np.array(words, dtype=np.uint64), length)
    runs = [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]
    assert len(hashes) == len(runs)
    assert len(set(hashes.tolist())) == len(set(runs)) == len(set(zip(runs, hashes.tolist(), strict=True)))
