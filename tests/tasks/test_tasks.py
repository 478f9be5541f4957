"""Items read from the real files have lm-eval's prompts, and broken files are errors that name the row."""

from __future__ import annotations

import json

import pytest

from bedplate.errors import InputError, UserError
from bedplate.tasks.catalogue import TASKS, data_folder, load_task, task_files
from bedplate.tasks.commonsense import read_arc, read_piqa
from bedplate.tasks.mmlu import read_mmlu

ARC_ROW = {
    "instruction": "Please choose the correct answer to the question: What is it? Answer: that.\n\n"
    "Answer1: a cat Answer2: the Answer of all Answer3: dogs\n\nAnswer format: answer1/answer2/answer3",
    "input": "",
    "output": "the correct answer is answer2",
    "answer": "answer2",
}
PIQA_ROW = {
    "instruction": "Please choose the correct solution to the question: dresser\n\nSolution1: replace drawer with "
    "bobby pin \n\nSolution2: finish, woodgrain with  bobby pin \n\nAnswer format: solution1/solution2",
    "answer": "solution1",
}


def write(path, rows):
    path.write_text(json.dumps(rows))
    return path


def test_arc_prompt_and_choices(tmp_path):
    (item,) = read_arc(write(tmp_path / "test.json", [ARC_ROW]))
    assert item.context == "Question: What is it? Answer: that.\nAnswer:"
    assert item.choices == ("a cat", "the Answer of all", "dogs")
    assert item.continuations()[0] == " a cat"
    assert item.answer == 1


def test_piqa_keeps_its_spaces(tmp_path):
    (item,) = read_piqa(write(tmp_path / "test.json", [PIQA_ROW]))
    assert item.context == "Question: dresser\nAnswer:"
    assert item.choices == ("replace drawer with bobby pin ", "finish, woodgrain with  bobby pin ")
    assert item.answer == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ARC_ROW, ARC_ROW | {"answer": "answer4"}], "row 2: answer 'answer4' is none of answer1, answer2, answer3"),
        ([ARC_ROW | {"instruction": "Say something"}], "row 1: the instruction doesn't have the expected question"),
        ([{"question": "?"}], "row 1: no text in fields instruction and answer"),
        ([], "at least one row"),
    ],
)
def test_broken_rows_are_named(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        read_arc(write(tmp_path / "test.json", rows))


def test_truncated_json_is_named(tmp_path):
    path = tmp_path / "test.json"
    path.write_text(json.dumps([ARC_ROW])[:-20])
    with pytest.raises(InputError, match=r"test\.json: not JSON"):
        read_arc(path)


def write_mmlu(folder, test, dev=5):
    (folder / "test").mkdir(parents=True)
    (folder / "dev").mkdir()
    (folder / "dev" / "high_school_art_dev.csv").write_text("".join(f"Q{i}?,w,x,y,z,C\n" for i in range(dev)))
    (folder / "test" / "high_school_art_test.csv").write_text(test)
    return folder


def test_mmlu_prompt_is_lm_evals(tmp_path):
    (item,) = read_mmlu(write_mmlu(tmp_path, '" One, or\ntwo? ",1,2,"3,5",4,D\n'), shots=2)
    assert item.context == (
        "The following are multiple choice questions (with answers) about high school art.\n\n"
        "Q0?\nA. w\nB. x\nC. y\nD. z\nAnswer: C\n\n"
        "Q1?\nA. w\nB. x\nC. y\nD. z\nAnswer: C\n\n"
        "One, or\ntwo?\nA. 1\nB. 2\nC. 3,5\nD. 4\nAnswer:"
    )
    assert item.continuations() == (" A", " B", " C", " D")
    assert (item.answer, item.group) == (3, "high_school_art")


def test_mmlu_errors_name_the_file(tmp_path):
    with pytest.raises(InputError, match=r"high_school_art_test.csv record 1"):
        read_mmlu(write_mmlu(tmp_path / "a", "Q,1,2,3,4,E\n"))
    with pytest.raises(InputError, match=r"3 rows, 5 examples"):
        read_mmlu(write_mmlu(tmp_path / "b", "Q,1,2,3,4,A\n", dev=3))


def test_unknown_task_missing_data_and_bad_limit(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="unknown task 'arc'"):
        load_task("arc", tmp_path)
    with pytest.raises(InputError, match="task piqa: no commonsense_qa"):
        load_task("piqa", tmp_path)
    monkeypatch.delenv("BEDPLATE_DATA", raising=False)
    with pytest.raises(UserError, match="BEDPLATE_DATA"):
        data_folder(None)


@pytest.mark.parametrize(
    ("name", "count"), [("arc_easy", 2376), ("arc_challenge", 1172), ("piqa", 1838), ("mmlu", 14042)]
)
def test_the_published_number_of_items(shared_data, name, count):
    task = load_task(name, shared_data)
    assert len(task.items) == task.available == count
    assert len({item.id for item in task.items}) == count
    assert all(path.is_file() for path in task_files(name, shared_data))


def test_a_limited_task_sees_every_subject(shared_data):
    task = load_task("mmlu", shared_data, limit=57)
    assert len({item.group for item in task.items}) == 57
    assert task.available == 14042
    assert set(TASKS) >= {"arc_easy", "piqa", "mmlu"}
