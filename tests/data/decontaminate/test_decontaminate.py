"""Evaluation items in documents: all that were planted are found, nothing in clean text, and only they are cut out."""

from __future__ import annotations

import json
import random
import re
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bedplate.data.decontaminate import index as index_module
from bedplate.data.decontaminate.config import DecontaminateConfig, EvaluationFile
from bedplate.data.decontaminate.index import EvaluationIndex
from bedplate.data.decontaminate.items import EvaluationItem, evaluation_items, file_items, task_items
from bedplate.data.decontaminate.step import build_index, by_task, decoded, encoded, measures, prepared, step
from bedplate.data.documents import Document
from bedplate.errors import ArtefactError, InputError, UserError
from bedplate.tasks.item import MultipleChoice

TASKS = ("mmlu", "arc_easy", "arc_challenge", "piqa")
QUESTION = "A robe takes two bolts of blue fiber and half that much white fiber, so how many bolts does it take?"


def words_of(text: str) -> list[str]:
    """The rule of the index, written the slow way."""
    kept = [c if unicodedata.category(c)[0] in "LNM" else " " for c in text.casefold()]
    return "".join(kept).split()


def naive(items, text: str, n: int, least: int) -> set[int]:
    """The items that a text shares runs with."""
    found, there = set(), words_of(text)
    for number, item in enumerate(items):
        passages = [words_of(passage) for passage in item.passages]
        if all(len(passage) < least for passage in passages):
            passages = [[word for passage in passages for word in passage]]
        for passage in passages:
            size = min(n, len(passage))
            runs = {tuple(passage[i : i + size]) for i in range(len(passage) - size + 1)}
            if size >= least and any(tuple(there[i : i + size]) in runs for i in range(len(there) - size + 1)):
                found.add(number)
    return found


text_of = st.lists(st.sampled_from(["a", "B", "c,", "É", "ß", "-", "’", "\n", "x\u0301"]), max_size=14).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(
    passages=st.lists(st.lists(text_of, min_size=1, max_size=3), min_size=1, max_size=5),
    texts=st.lists(st.lists(text_of, max_size=6).map(" ".join), max_size=4),
    least=st.sampled_from([2, 4, 6]),
    size=st.sampled_from([10, 33, 1 << 20]),
)
def test_finds_the_items_that_share_runs(passages, texts, least, size):
    items = [EvaluationItem("t", str(i), tuple(given)) for i, given in enumerate(passages)]
    try:
        index = EvaluationIndex.build(items, [], words=6, least=least)
    except InputError:
        assert all(len(words_of(" ".join(item.passages))) < least for item in items)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "_SLICE", size)
        matches = index.matches(texts)
    for text, match in zip(texts, matches, strict=True):
        expected = naive(items, text, 6, least)
        assert set(() if match is None else match.items) == expected
        if match is not None:  # what the spans cover is all of it, and they hold the runs whole
            assert naive(items, " | ".join(text[a:b] for a, b in match.spans), 6, least) == expected
            ends = [place for span in match.spans for place in span]
            assert ends == sorted(set(ends))
            assert all(words_of(text[a:b]) and words_of(text[a]) and words_of(text[b - 1]) for a, b in match.spans)


@pytest.fixture(scope="module")
def real(shared_data):
    """The index of four tasks and of GSM8K, and its items."""
    path = shared_data / "gsm8k" / "grade_school_math" / "data" / "test.jsonl"
    file = EvaluationFile(path=str(path), fields=("question", "answer"), name="gsm8k")
    config = DecontaminateConfig(tasks=TASKS, task_data=str(shared_data), files=(file,))
    items, origins = evaluation_items(config)
    return EvaluationIndex.build(items, origins), items


def gutenberg(shared_data) -> list[str]:
    """Clean text, in documents of 3,000 characters."""
    books = sorted((shared_data / "gutenberg_books").rglob("*.txt"))
    texts = [book.read_text(encoding="utf-8", errors="replace") for book in books]
    return [text[i : i + 3000] for text in texts for i in range(0, len(text), 3000)]


def test_every_planted_item_is_found_and_clean_text_is_left_alone(real, shared_data):
    index, items = real
    clean = gutenberg(shared_data)
    rng = random.Random(0)
    covered = np.flatnonzero(index.covered)
    chosen = sorted(rng.sample(covered.tolist(), 1500))
    planted = []
    for number in chosen:
        text, passages = rng.choice(clean), items[number].passages
        at = text.find(" ", rng.randrange(2500)) + 1
        item = "\n".join(passages)
        if rng.random() < 0.5:  # as it stands elsewhere: other case, quotes and line breaks
            item = re.sub(r"\s+", lambda _: rng.choice([" ", "\n", "  "]), item.upper()).replace("'", "’")
        planted.append(f"{text[:at]}{item}\n{text[at:]}")
    missed = [n for n, m in zip(chosen, index.matches(planted), strict=True) if m is None or n not in m.items]
    assert missed == []
    found = [(text, match) for text, match in zip(clean, index.matches(clean), strict=True) if match is not None]
    # What is found in old books is there: the Declaration of Independence is asked about.
    for text, match in found:
        assert naive([items[number] for number in match.items], text, 13, 8) == set(range(len(match.items)))
    assert len(found) <= len(clean) // 100


def test_frames_of_prompts_are_not_looked_for(real):
    index, items = real
    assert index.matches(["The following are multiple choice questions (with answers) about abstract algebra."]) == [
        None
    ]
    mmlu = [item for item in items if item.task == "mmlu"]
    assert len(mmlu) == 14_042
    assert not any("Answer:" in item.passages[0] and "multiple choice questions" in item.passages[0] for item in mmlu)
    figures = by_task(index, [])
    assert {task: figures[task]["items"] for task in TASKS} == {
        **{"mmlu": 14_042, "arc_easy": 2376, "arc_challenge": 1172, "piqa": 1838}
    }
    assert all(figure["covered"] / figure["items"] > 0.9 for figure in figures.values())


def test_an_item_alone_in_its_group_keeps_its_question():
    alone = MultipleChoice("1", f"Do this:\n\nAn example.\n\n{QUESTION}\nA. one\nB. two\nAnswer:", ("A", "B"), 0, "g")
    (item,) = task_items("t", [alone])
    assert item.passages == (f"{QUESTION}\nA. one\nB. two\nAnswer:", QUESTION)


def test_a_saved_index_is_the_same_and_has_the_same_bytes(real, tmp_path):
    index, _ = real
    for name in ("one.npz", "two.npz"):
        index.save(tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    loaded = EvaluationIndex.load(tmp_path / "one.npz")
    assert measures(loaded) == measures(index)
    assert loaded.items == index.items
    text = "He said: A ROBE takes 2 bolts of blue fiber and half that much white fiber! How many bolts in total"
    assert loaded.items_touched(text) == index.items_touched(text) == [("gsm8k", "2")]
    assert loaded.items_touched("Nothing of the kind.") == []


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "items.jsonl"
    rows = [
        {"question": QUESTION, "answer": "three bolts"},
        {"question": "Who?", "answer": "You."},
        {"question": "Who wrote the play about the prince?", "answer": ["It was", "William Shakespeare"]},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return EvaluationFile(path=str(path), fields=("question", "answer"))


def run(config: DecontaminateConfig, *texts: str) -> list[Document]:
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    step(config)(documents)
    return documents


def test_columns_and_figures_by_task(file):
    config = DecontaminateConfig(files=(file,), action="mark")
    short = "Who wrote the play about the prince? It was William Shakespeare"
    documents = run(config, f"{QUESTION} {short}", "Clean.", "", f"So: {short}.")
    assert all(document.alive and set(document.columns) == set(step(config).columns) for document in documents)
    first, clean, empty, last = (document.columns for document in documents)
    assert last["contaminated_by"] == "items:3"
    assert first["contaminated_by"] == "items:1; items:3"
    assert first["contaminated_items"] == "items 0,2"
    assert first["contamination_ngrams"] == (21 - 13 + 1) + 1
    assert clean == empty == {"contaminated_by": None, "contamination_ngrams": 0, "contaminated_items": None}
    index = build_index(config)
    values = [document.columns["contaminated_items"] for document in documents]
    assert by_task(index, values) == {"items": {"items": 3, "covered": 2, "touched": 2, "documents": 2}}


@pytest.mark.parametrize("text", ["", "a 1", "a 0-3,5; b c 7,9-10"])
def test_item_numbers_are_written_shortly(text):
    assert encoded([(task, n) for task, numbers in decoded(text).items() for n in numbers]) == text


def test_drop(file):
    clean, dirty = run(DecontaminateConfig(files=(file,)), "Clean.", f"See: {QUESTION.lower()}")
    assert clean.alive
    assert (dirty.status, dirty.stage, dirty.reason, dirty.detail) == (
        *("dropped", "decontaminate", "contaminated"),
        "items:1",
    )


def test_remove_cuts_whole_words_with_a_margin(file):
    before, after = "left " * 100, "right " * 100
    config = DecontaminateConfig(files=(file,), action="remove", margin=100, least_piece=50)
    (document,) = run(config, f"{before}{QUESTION} {after}")
    left, right = document.text.split("\n\n")
    assert document.alive
    assert set(left.split()) == {"left"}
    assert set(right.split()) == {"right"}
    assert 500 - 110 < len(left) <= 400
    assert 600 - 110 < len(right) <= 500
    # Too little is left on either side, or there are too many pieces.
    (nothing,) = run(config, f"Short. {QUESTION} Short.")
    assert (nothing.reason, nothing.detail) == ("contaminated", "nothing left but items:1")
    pieces = DecontaminateConfig(files=(file,), action="remove", margin=0, least_piece=5, most_pieces=2)
    (torn,) = run(pieces, f"{before}{QUESTION} {before}{QUESTION} {before}")
    assert torn.detail == "cut into 3 pieces by items:1"


def test_a_prepared_index_serves_in_place_of_what_it_was_made_of(file, tmp_path):
    config = DecontaminateConfig(files=(file,), words=10)
    saved = prepared(config, tmp_path / "index.npz")
    assert (saved.files, saved.index) == ((), str(tmp_path / "index.npz"))
    assert step(saved).index.words == 10
    assert not run(saved, QUESTION)[0].alive


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet", ".txt"])
def test_items_of_every_kind_of_file(tmp_path, suffix):
    path = tmp_path / f"set{suffix}"
    rows = [{"key": f"k{i}", "question": f"{QUESTION} {i}"} for i in range(3)]
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif suffix == ".json":
        path.write_text(json.dumps(rows))
    elif suffix == ".csv":
        path.write_text("key,question\n" + "".join(f'{row["key"]},"{row["question"]}"\n' for row in rows))
    elif suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("\n\n".join(row["question"] for row in rows))
    named = {} if suffix == ".txt" else {"fields": ("question",), "id_field": "key"}
    items = list(file_items(EvaluationFile(path=str(path), **named)))
    assert [item.passages for item in items] == [(row["question"],) for row in rows]
    assert [item.id for item in items] == (["1", "2", "3"] if suffix == ".txt" else ["k0", "k1", "k2"])


def test_refuses_what_covers_nothing(tmp_path, shared_data, file):
    path = tmp_path / "few.jsonl"
    path.write_text('{"question": "Who?"}\n')
    blank = tmp_path / "blank.txt"
    blank.write_text("\n\n")
    (tmp_path / "broken.npz").write_bytes(b"PK nothing")

    def refused(kind, message, **config):
        with pytest.raises(kind, match=message):
            build_index(DecontaminateConfig(**config))

    def one(path, **fields):
        return (EvaluationFile(path=str(path), **fields),)

    refused(InputError, r'no field "body" in it \(fields: question\)', files=one(path, fields=("body",)))
    refused(InputError, r"which of its fields", files=one(path))
    refused(InputError, r"none of 1 evaluation items has 8 words", files=one(path, fields=("question",)))
    refused(InputError, r"no evaluation items", files=one(blank))
    refused(InputError, r"no fields", files=one(blank, fields=("question",)))
    refused(InputError, r"no such file", files=one(tmp_path / "no.txt"))
    refused(InputError, r"two tasks are called 'items'", files=(file, file))
    refused(UserError, r"unknown task", tasks=("hellaswag",), task_data=str(shared_data))
    refused(InputError, r"no mmlu", tasks=("mmlu",), task_data=str(tmp_path))
    refused(ArtefactError, r"not an index", index=str(tmp_path / "broken.npz"))
    refused(InputError, r"no such index", index=str(tmp_path / "no.npz"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "nothing to look for"),
        ({"index": "i", "tasks": ["mmlu"]}, "not both"),
        ({"tasks": ["mmlu"], "least": 20}, "least=20 is more than words=13"),
    ],
)
def test_refuses_settings_that_make_no_sense(config, message):
    with pytest.raises(ValidationError, match=message):
        DecontaminateConfig(**config)
