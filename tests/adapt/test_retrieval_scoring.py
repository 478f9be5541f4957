"""Questions without an answer, and the one rule of rightness: the same when a way is made and when it is compared."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bedplate.adapt.asking import is_right, word_f1
from bedplate.adapt.compare.assembly import Runs, _answered, _rights, _seconds
from bedplate.adapt.face import Answer
from bedplate.adapt.retrieval import calibrating
from bedplate.adapt.retrieval.index_config import IndexConfig
from bedplate.adapt.retrieval.prompts import NOT_IN_SOURCES
from bedplate.adapt.retrieval.way import _scores
from bedplate.adapt.ways import TaskConfig
from bedplate.generate.generation import Usage
from bedplate.tasks.examples import Example
from bedplate.tasks.task_file import load_task

UNANSWERABLE = ("", "  \n", NOT_IN_SOURCES, "that is NOT in the sources")


@pytest.mark.parametrize(
    ("answer", "target", "right"),
    [
        ("The  Tower!", "tower", True),
        ("Fine [1, 2].", "fine", True),
        ("two towers", "a tower", False),
        ("[1, 2]", "[3]", False),  # the task's own brackets aren't citations
        ("[1, 2]", "[1, 2]", True),
        ("+", "-", False),  # nothing is left of either, and they differ
        ("the", "a", False),
        ("", "the", False),
    ],
)
def test_exact_match_is_squads(answer: str, target: str, right: bool):
    assert is_right(answer, target) is right
    assert (word_f1(answer, target) == 1) is right


@pytest.mark.parametrize("target", UNANSWERABLE)
def test_declining_is_right_where_there_is_no_answer_and_nothing_else_is(target: str):
    for score in (is_right, word_f1):
        assert score(NOT_IN_SOURCES, target, abstained=True) == 1
        assert score("I don't know.", target, abstained=True) == 1
        assert score(NOT_IN_SOURCES, target) == 1
        assert score("", target) == 1
        assert score("42", target) == 0


@pytest.mark.parametrize("target", ["42", "In the sources."])
def test_declining_is_wrong_where_there_is_an_answer(target: str):
    for score in (is_right, word_f1):
        assert score(target, target) == 1
        assert score(target, target, abstained=True) == 0
        assert score(NOT_IN_SOURCES, target) == 0
        assert score("", target) == 0


@given(st.text("aAbthe .,[1]-\n", max_size=12), st.text("aAbthe .,[1]-\n", max_size=12), st.booleans())
def test_what_is_right_has_all_its_words_right(answer: str, target: str, abstained: bool):
    overlap = word_f1(answer, target, abstained=abstained)
    assert 0 <= overlap <= 1
    assert not is_right(answer, target, abstained=abstained) or overlap == 1


def test_choosing_a_style_and_comparing_ways_score_alike():
    rows = [  # (target, answer, abstained, right)
        ("", NOT_IN_SOURCES, True, True),
        (NOT_IN_SOURCES, NOT_IN_SOURCES, True, True),
        ("", "1889", False, False),
        ("1889", NOT_IN_SOURCES, True, False),
        ("in the sources", NOT_IN_SOURCES, True, False),
        ("the tower", "Tower. [1]", False, True),
        ("in 1889", "1889", False, False),
    ]
    test = [Example(str(i), f"q{i}", target, i) for i, (target, *_) in enumerate(rows)]
    written = [
        {"answer": answer, "abstained": abstained, "sources": [], "probability": None}
        for _, answer, abstained, _ in rows
    ]
    runs = Runs(SimpleNamespace(), "retrieval", "retrieval", [], [written])
    rights = _rights(runs, test, classes=False)
    assert rights.tolist() == [[float(right) for *_, right in rows]]
    told = _answered(runs, rights)
    assert told["abstained"] == pytest.approx(4 / 7)
    assert told["right_of_answered"] == pytest.approx(1 / 3)
    usage = Usage(prompt_tokens=0, completion_tokens=0)
    chosen = _scores(test, [Answer(answer, usage, abstained=abstained) for _, answer, abstained, _ in rows])
    assert chosen["exact_match"] == pytest.approx(rights.mean())
    assert chosen["f1"] == pytest.approx(_seconds(runs, test)[0])


def test_empty_answers_are_read_and_calibrate(tmp_path: Path):
    path = tmp_path / "questions.jsonl"
    rows = [{"question": f"What is number {i}?", "answer": f"it is {i}" if i % 2 else " "} for i in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = load_task(TaskConfig(file=str(path)))
    assert task.kind == "generation"
    kinds = {calibrating.is_unanswerable(example.target) for example in task.validation}
    assert kinds == {True, False}
    assert {e.target for e in task.train if calibrating.is_unanswerable(e.target)} == {""}


def test_a_language_that_word_search_lacks_is_refused_before_anything_is_read():
    assert IndexConfig(documents="x", language="German").language == "German"
    with pytest.raises(ValidationError, match="Klingon"):
        IndexConfig(documents="x", language="Klingon")
