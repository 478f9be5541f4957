"""Task files: what is read from them, how they are split, and every way in which they can be wrong."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.adapt.ways import TaskConfig
from bedplate.errors import InputError, RecipeError
from bedplate.tasks.examples import Example
from bedplate.tasks.near_copies import LONG, groups
from bedplate.tasks.task_file import chosen, limited, load_task, task_sources
from bedplate.tasks.task_split import by_hash

ANIMALS, TOOLS = ("cat", "dog", "cow", "hen"), ("saw", "axe", "file", "drill")


def rows(count=60):
    """Two classes in turn, each text its own."""
    return [
        {
            "text": f"The {(ANIMALS if n % 2 else TOOLS)[n % 4]} number {n} of them",
            "label": "animal" if n % 2 else "tool",
        }
        for n in range(count)
    ]


def jsonl(path, values):
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return str(path)


def load(path, values, **settings):
    return load_task(TaskConfig(file=jsonl(path, values), **settings))


def refused(path, values, *words, **settings):
    """The error says all of the words; the fix comes with it."""
    with pytest.raises((InputError, RecipeError)) as raised:
        load(path, values, **settings)
    for word in words:
        assert word in raised.value.problem, raised.value.problem
    assert raised.value.fix
    return raised.value


def test_json_lines_and_csv_give_the_same_task(tmp_path):
    values = [{"text": f'quoted "{n}", and\na second line', "label": str(n % 2)} for n in range(40)]
    with (tmp_path / "task.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, ["text", "label"])
        writer.writeheader()
        writer.writerows(values)
    ours = load(tmp_path / "task.jsonl", values)
    theirs = load_task(TaskConfig(file=str(tmp_path / "task.csv")))
    for split in ("train", "validation", "test"):
        assert [(e.input, e.target) for e in getattr(ours, split)] == [
            (e.input, e.target) for e in getattr(theirs, split)
        ]
    assert ours.kind == "classification"
    assert ours.classes == ("0", "1")
    # Lines are those that an editor shows: each of the CSV's rows takes two, after the header.
    assert {e.row for split in (theirs.train, theirs.validation, theirs.test) for e in split} == set(range(2, 82, 2))


def test_fields_may_be_named_and_are_found_by_their_usual_names(tmp_path):
    found = load(tmp_path / "a.jsonl", [{"text": f"t {n}", "category": "ab"[n % 2]} for n in range(40)])
    assert found.classes == ("a", "b")
    named = load(
        tmp_path / "b.jsonl", [{"body": f"t {n}", "kind": n % 2} for n in range(40)], text="body", label="kind"
    )
    assert named.classes == ("0", "1")
    asked = load(tmp_path / "c.jsonl", [{"question": f"q {n}?", "answer": f"a {n}"} for n in range(40)])
    assert asked.kind == "generation"
    assert asked.classes == ()
    assert asked.train[0].messages() == [{"role": "user", "content": asked.train[0].input}]


def test_messages_keep_their_turns(tmp_path):
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello {n}"}]
    values = [
        {
            "messages": [
                *({**turn, "content": turn["content"].format(n=n)} for turn in turns),
                {"role": "assistant", "content": "Hi."},
            ]
        }
        for n in range(30)
    ]
    task = load(tmp_path / "chat.jsonl", values)
    example = task.train[0]
    assert example.target == "Hi."
    assert [turn["role"] for turn in example.messages()] == ["system", "user"]
    assert "system: Be brief." in example.input
    refused(tmp_path / "bad.jsonl", [{"messages": turns}, *values], "line 1", "assistant")


def test_equal_texts_fall_in_one_split_whatever_their_case_and_punctuation(tmp_path):
    spellings = ("Where is card {}", " where is CARD {}?! ")
    values = [{"text": text.format(n), "label": "ab"[n % 2]} for n in range(80) for text in spellings]
    task = load(tmp_path / "task.jsonl", values)
    places = {e.row: name for name in ("train", "validation", "test") for e in getattr(task, name)}
    assert len(places) == 160
    assert all(places[row] == places[row + 1] for row in range(1, 160, 2))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.text("abcdef ", min_size=1, max_size=8).filter(str.strip), min_size=1, max_size=30), st.integers(0, 9)
)
def test_the_split_of_a_text_depends_on_no_other_row(texts, skip):
    examples = [Example(str(n), text, "x", n) for n, text in enumerate(texts)]
    whole = {e.id: name for name, some in by_hash(examples, 0.3, 0.3).items() for e in some}
    less = by_hash(examples[skip:], 0.3, 0.3)
    assert all(whole[e.id] == name for name, some in less.items() for e in some)


def test_long_near_copies_stay_together():
    words = [f"word{n}" for n in range(60)]
    changed = [*words[:30], "another", *words[31:]]
    half = [*words[:30], *(f"other{n}" for n in range(30))]
    short = words[: LONG - 1]
    texts = [" ".join(some) for some in (words, changed, half, short, [*short[:-1], "changed"])]
    assert groups(texts) == [0, 0, 2, 3, 4]


@pytest.mark.parametrize("suffix", ["", "!", "  "])
def test_test_rows_inside_training_are_refused_by_line(tmp_path, suffix):
    values = rows()
    tests = [{"text": f"unseen {n}", "label": "tool"} for n in range(5)]
    tests[3] = {**values[7], "text": values[7]["text"].upper() + suffix}
    jsonl(tmp_path / "test.jsonl", tests)
    error = refused(tmp_path / "task.jsonl", values, "1 example of the test split", "test.jsonl line 4",
                    "task.jsonl line 8", test_file=str(tmp_path / "test.jsonl"))  # fmt: skip
    assert "measure memory" in error.problem


def test_a_split_column_is_taken_and_checked(tmp_path):
    values = [{**row, "split": ("train", "dev", "test")[n % 3]} for n, row in enumerate(rows())]
    task = load(tmp_path / "task.jsonl", values, split="split")
    assert [e.row % 3 for e in (task.train[0], task.validation[0], task.test[0])] == [1, 2, 0]
    refused(tmp_path / "a.jsonl", [*values, {**values[0], "split": "test"}], "line 61", "line 1", split="split")
    refused(tmp_path / "b.jsonl", [*values, {**values[0], "split": "maybe"}], "line 61", "maybe", split="split")
    refused(tmp_path / "c.jsonl", [*values, rows()[0]], "line 61", 'no field "split"', split="split")


def test_validation_comes_from_training_where_nothing_says_it(tmp_path):
    values = [{**row, "split": "test" if n % 3 == 0 else "train"} for n, row in enumerate(rows(90))]
    task = load(tmp_path / "task.jsonl", values, split="split")
    assert {e.row % 3 for e in task.test} == {1}
    assert task.validation
    assert not {e.row for e in task.validation} & {e.row for e in task.train}


def test_missing_and_empty_fields_are_named(tmp_path):
    values = rows()
    refused(tmp_path / "a.jsonl", [*values, {"text": "x", "kind": "y"}], "line 61", 'no field "label"', "text, kind")
    refused(tmp_path / "b.jsonl", [*values, {"text": "  ", "label": "tool"}], "line 61", '"text" is empty')
    refused(tmp_path / "c.jsonl", [*values, {"text": "x", "label": None}], "line 61", '"label" holds null')
    refused(tmp_path / "d.jsonl", [{"body": "x", "kind": "y"}], "line 1", "fields: body, kind")
    refused(tmp_path / "e.jsonl", values, 'no field "nowhere"', text="nowhere")
    refused(tmp_path / "f.jsonl", values, "not both", text="text", prompt="label")
    refused(tmp_path / "g.jsonl", [*values, {"text": "\ud800", "label": "tool"}], "line 61", "surrogate")


def test_only_an_answer_may_be_empty(tmp_path):
    asked = [{"question": f"Which is number {n}?", "answer": "" if n % 3 else "one"} for n in range(30)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in asked))
    task = load_task(TaskConfig(file=str(path)))
    assert {e.target for e in (*task.train, *task.validation, *task.test)} == {"", "one"}
    refused(tmp_path / "b.jsonl", [*asked, {"question": " ", "answer": "x"}], "line 31", '"question" is empty')
    refused(tmp_path / "c.jsonl", [*asked, {"question": "x", "answer": None}], "line 31", '"answer" holds null')
    refused(tmp_path / "d.jsonl", [*rows(), {"text": "x", "label": ""}], "line 61", '"label" is empty')
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": " "}]
    refused(tmp_path / "e.jsonl", [{"messages": turns}], "line 1", "an empty message")


def test_classes_that_cant_be_learnt_are_refused(tmp_path):
    refused(tmp_path / "a.jsonl", [{**row, "label": "tool"} for row in rows()], "one class, 'tool'")
    refused(tmp_path / "b.jsonl", [*rows(), {"text": rows()[0]["text"].upper(), "label": "animal"}],
            "one text with two labels", "line 1", "line 61")  # fmt: skip
    refused(tmp_path / "c.jsonl", [*rows(), {"text": "new", "label": "Tool"}], "two spellings", "line 61")
    split = [{**row, "split": ("train", "dev", "test")[n % 3]} for n, row in enumerate(rows())]
    unseen = {"text": "never met", "label": "ghost", "split": "test"}
    refused(tmp_path / "d.jsonl", [*split, unseen], "'ghost' of the test split is unseen in training", "line 61",
            split="split")  # fmt: skip
    refused(tmp_path / "e.jsonl", [*split, {**unseen, "split": "train"}], "fewer than 2", "'ghost' (1)", split="split")
    refused(tmp_path / "f.jsonl", rows(), "leave nothing for training", validation=0.5, test=0.5)
    refused(tmp_path / "g.jsonl", rows(), "isn't a label", label_texts={"ghost": "x"})


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b'{"text": "x"\n', ["line 1", "not JSON"]),
        ("b.jsonl", b'\n["x"]\n', ["line 2", "not a JSON object"]),
        ("c.jsonl", b'{"text": "caf\xe9"}\n', ["line 1", "not UTF-8"]),
        ("d.jsonl", '{"text": "x"}\n'.encode("utf-16"), ["not UTF-8", "looks like UTF-16"]),
        ("e.jsonl", b"[" * 100_000 + b"\n", ["line 1", "nested too deeply"]),
        ("f.jsonl", b"", ["no rows"]),
        ("g.csv", b'text,label\na,b\n"open,b\nc,d\n', ["line 3", "not CSV"]),
        ("h.csv", b"text,label\na,b\na,b,c\n", ["line 3", "3 fields where the header has 2"]),
        ("i.csv", b"text;label\na;b\n", ["separated by semicolons"]),
        ("j.csv", b"text,text\na,b\n", ["'text' twice"]),
        ("k.csv", b'text,label\na,b\n"' + b"x" * 200_000 + b'",b\n', ["line 3", "longer than 131,072"]),
        ("l.jsonl", b'{"text": "' + b"x" * 200_000 + b'", "label": "a"}\n', ["line 1", '"text" has 200,000']),
    ],
)  # fmt: skip
def test_broken_files_are_named_by_line(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as raised:
        load_task(TaskConfig(file=str(tmp_path / name)))
    for word in [name, *words]:
        assert word in raised.value.problem
    assert raised.value.fix


def test_absent_files(tmp_path):
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(InputError):
            load_task(TaskConfig(file=str(path)))
        with pytest.raises(InputError):
            task_sources(TaskConfig(file=str(path)))
    with pytest.raises(RecipeError, match="file: missing"):
        load_task(TaskConfig())
    (tmp_path / "a.jsonl").write_text("{}\n")
    (source,) = task_sources(TaskConfig(file=str(tmp_path / "a.jsonl")))
    assert source.bytes == 3


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 100), st.integers(3, 100), st.integers(0, 5))
def test_cuts_are_nested_and_stratified(less, more, seed):
    less, more = sorted((less, more))
    examples = tuple(Example(str(n), f"text {n}", "abc"[0 if n < 60 else 1 if n < 90 else 2], n) for n in range(100))
    small = chosen(examples, less, str(seed), stratified=True)
    large = chosen(examples, more, str(seed), stratified=True)
    assert len(small) == less
    assert set(small) <= set(large)
    assert {e.target for e in small} == set("abc")
    share = sum(e.target == "a" for e in small) / less
    assert abs(share - 0.6) <= 2 / less + 0.01


def test_limited(tmp_path):
    task = load(tmp_path / "task.jsonl", rows(200))
    cut = limited(task, labels=10, validation=4)
    assert (len(cut.train), len(cut.validation)) == (10, 4)
    assert cut.test == task.test
    assert limited(task, labels=None, validation=None) == task
    assert limited(task, labels=10, validation=4, seed=1).train != cut.train
    with pytest.raises(RecipeError, match="fewer than the task's 2 classes"):
        limited(task, labels=1, validation=None)
    assert limited(replace(task, kind="generation", classes=()), labels=1, validation=None).train


def test_banking77_is_refused_as_it_is_and_splits_without_its_test_file(shared_data):
    folder = shared_data / "banking77" / "banking_data"
    with pytest.raises(InputError, match="26 examples of the test split"):
        load_task(TaskConfig(file=str(folder / "train.csv"), test_file=str(folder / "test.csv")))
    task = load_task(TaskConfig(file=str(folder / "train.csv")))
    assert len(task.classes) == 77
    assert len(task.train) + len(task.validation) + len(task.test) == 10_003
