"""This machine's own documents as a task: the same twice, no module named in a text, answers where they should be."""

from __future__ import annotations

import json
import re

import pytest

from bedplate.adapt.ways import TaskConfig
from bedplate.console import Console
from bedplate.ledger import produce
from bedplate.tasks.docstrings import documented, name_parts, prose, without_name
from bedplate.tasks.python_docs import PYTHON_DOCS, PythonDocsConfig
from bedplate.tasks.task_file import load_task


@pytest.fixture(scope="module")
def docs(tmp_path_factory):
    out = tmp_path_factory.mktemp("docs") / "docs"
    return produce(PYTHON_DOCS, PythonDocsConfig(), {}, out, name="docs", console=Console.quiet())


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_is_a_task_of_twenty_modules(docs):
    task = load_task(TaskConfig(), docs.path)
    assert len(task.classes) == 20
    assert len(task.train) + len(task.validation) + len(task.test) == docs.measures["examples"] >= 300
    assert task.description
    assert max(sum(e.target == c for e in task.train) for c in task.classes) <= 24


def test_no_text_names_its_module(docs):
    """Neither as a word nor as words of a name: of `RawConfigParser` every part and every row of parts is looked at."""
    for row in lines(docs.path / "task.jsonl"):
        assert not re.search(rf"\b{row['label']}\b", row["text"], re.IGNORECASE), row
        for name in re.findall(r"\w+", row["text"]):
            spans = name_parts(name)
            parts = {name[i:j].lower() for n, (i, _) in enumerate(spans) for _, j in spans[n:]}
            assert row["label"] not in parts | {part.replace("_", "") for part in parts}, row
        assert row["of"].startswith(row["label"] + ".")


def test_twice_is_the_same(docs, tmp_path):
    again = produce(PYTHON_DOCS, PythonDocsConfig(), {}, tmp_path / "docs", name="x", console=Console.quiet())
    assert again.digest == docs.digest
    assert again.key == docs.key
    other = PythonDocsConfig(modules=3, per_module=5, questions=2)
    small = produce(PYTHON_DOCS, other, {}, tmp_path / "small", name="x", console=Console.quiet())
    assert (small.measures["examples"], small.measures["modules"], small.measures["questions"]) == (15, 3, 2)


def test_answers_stand_under_the_headings_that_the_questions_name(docs):
    asked = lines(docs.path / "questions.jsonl")
    assert len(asked) == 40
    for row in asked:
        text = (docs.path / "documents" / row["document"]).read_text()
        section = text.partition(f"## {row['heading']}\n\n")[2].partition("\n## ")[0]
        assert " ".join(section.split()).startswith(row["answer"])
        assert row["question"].removeprefix("What does ").removesuffix(" do?") in row["heading"]


def test_questions_are_a_task_too(docs):
    task = load_task(TaskConfig(file=str(docs.path / "questions.jsonl")))
    assert task.kind == "generation"


def test_what_is_documented_is_read_without_importing(tmp_path):
    (tmp_path / "pack").mkdir()
    path = tmp_path / "pack" / "inner.py"
    path.write_text(
        'raise SystemExit\ndef f(a, /, b=1, *c, d: int = 2, **e):\n    """Does f."""\n'
        'class C:\n    """Is C."""\n    def __init__(self, x): ...\n    def m(self, y=0):\n        """Does m."""\n'
        '    @staticmethod\n    def s(z):\n        """Does s."""\n    def _p(self):\n        """Private."""\n'
        'def bare(): ...\n'
    )  # fmt: skip
    found = {item.name: item.signature for item in documented("pack", path)}
    assert found == {
        "pack.inner.f": "(a, /, b=1, *c, d: int=2, **e)",
        "pack.inner.C": "(x)",
        "pack.inner.C.m": "(y=0)",
        "pack.inner.C.s": "(z)",
    }
    path.write_text("def broken(:\n")
    assert list(documented("pack", path)) == []


def test_prose_leaves_sessions_out_and_names_go():
    doc = "Copy a tree.\n\n>>> shutil.copytree(a, b)\n'b'\n\nSee shutil.move, Shutil and shutils."
    assert prose(doc, 6) == "Copy a tree. See shutil.move, Shutil"
    assert without_name(prose(doc, 20), "shutil") == "Copy a tree. See move, and shutils."


@pytest.mark.parametrize(
    ("text", "module", "left"),
    [
        ("Raise BdbQuit now.", "bdb", "Raise Quit now."),
        ("An HTTPConnection, an http_open or HTTP2", "http", "An Connection, an open or 2"),
        ("RawConfigParser and a ConfigParser.", "configparser", "Raw and a"),
        ("TextIOWrapper, IOBase, StringIO; ratio, audio", "io", "TextWrapper, Base, String; ratio, audio"),
        ("Base64Error, b64decode", "base64", "Error, b64decode"),
        ("a_json_file, json_, _json", "json", "a_file, ,"),
        ("secure, naïve-re, rére", "re", "secure, naïve-, rére"),
        ("https and emails stay", "http", "https and emails stay"),
    ],
)
def test_a_modules_name_goes_out_of_names_too(text: str, module: str, left: str):
    assert without_name(text, module) == left


def test_parts_of_names():
    name = "HTTPConnection_v2IOBase"
    assert [name[i:j] for i, j in name_parts(name)] == ["HTTP", "Connection", "v", "2", "IO", "Base"]
