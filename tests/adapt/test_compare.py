"""A comparison in real processes: what it finds, what fails on its own, what a kill leaves, what is refused at once."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from bedplate.adapt.compare.comparison import split_in_words
from bedplate.adapt.compare.config import seeds_of
from bedplate.adapt.compare.job import slugs
from bedplate.adapt.compare.results import Comparison
from bedplate.adapt.compare.stage import COMPARE, CompareConfig
from bedplate.console import Console
from bedplate.errors import InputError, RecipeError
from bedplate.ledger import open_artefact, produce

WORDS = {"animal": ("cat", "dog", "cow", "hen"), "tool": ("saw", "axe", "file", "drill"), "fruit": ("fig", "pear")}
WAYS = ["majority", "keywords"]


@pytest.fixture
def task(tmp_path):
    rows = [
        {"text": f"number {n}: the {words[n % len(words)]} over there", "label": label}
        for label, words in WORDS.items()
        for n in range(40 if label != "tool" else 50)
    ]
    path = tmp_path / "task.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def settings(task, ways=WAYS, **more):
    return {"task": {"file": str(task)}, "ways": ways, **more}


def compare(task, out, ways=WAYS, console=None, **more):
    config = CompareConfig.model_validate(settings(task, ways, **more))
    return produce(COMPARE, config, {}, out, name="comparison", console=console or Console.quiet())


def found(artefact):
    return Comparison.model_validate_json((artefact.path / "comparison.json").read_bytes())


def test_two_ways(task, tmp_path):
    made = compare(task, tmp_path / "out", ["majority", {"way": "keywords", "name": "Rules <b>"}], test=20)
    result = found(made)
    best, worst = result.ways
    assert (best.name, best.group, worst.name, worst.group) == ("Rules <b>", 1, "majority", 2)
    assert best.score.value > 0.9
    assert worst.behind.difference.value == pytest.approx(best.score.value - worst.score.value)
    assert (result.task.test, result.task.metric, result.task.classes) == (20, "accuracy", ("animal", "fruit", "tool"))
    assert best.labels_used == result.task.train
    assert best.peak_bytes > 1e7
    assert 0 < best.latency_s[0] <= best.latency_s[1]
    assert best.latency_requests == 20
    assert best.cost_1000 > 0
    assert best.whole_cost == pytest.approx(best.fit_cost + 100 * best.cost_1000)
    assert result.advice.way == "Rules <b>"
    assert result.advice.foundation_model is None
    # Each fitted way is an artefact of its own, and what it answered is there to look at.
    assert open_artefact(made.path / best.folder).kind == "baseline"
    rows = [json.loads(line) for line in (made.path / "predictions/rules-b-seed-0.jsonl").read_text().splitlines()]
    assert sum(row["answer"] == row["target"] for row in rows) == round(20 * best.score.value)
    page = (made.path / "report.html").read_text()
    assert "Rules &lt;b&gt;" in page
    assert "Rules <b>" not in page
    assert "http://" not in re.sub(r'xmlns="[^"]*"', "", page)
    made.verify()
    assert not made.strangers()
    left = [path.name for path in made.path.rglob("*") if path.name.startswith(".") or ".partial-" in path.name]
    assert not left
    assert compare(task, tmp_path / "out", ["majority", {"way": "keywords", "name": "Rules <b>"}], test=20).cached


def test_a_way_that_fails_is_told_and_the_rest_goes_on(task, tmp_path, capfd):
    dead = {"url": "http://127.0.0.1:9/v1", "model": "none", "retries": 0, "timeout": 2}
    made = compare(task, tmp_path / "out", [*WAYS, "zero-shot"], console=Console.plain(), endpoint=dead)
    result = found(made)
    assert {way.name for way in result.ways} == set(WAYS)
    (failed,) = result.failed
    assert failed.name == "zero-shot"
    assert "127.0.0.1:9" in failed.problem
    page = (made.path / "report.html").read_text()
    assert "zero-shot (seed 0) failed" in page
    assert "zero-shot failed" in " ".join(result.advice.reasons)
    said = capfd.readouterr().err
    assert "zero-shot (seed 0) failed, the rest goes on" in said
    assert "bedplate serve" in said
    assert not (made.path / "ways" / "zero-shot").exists()
    assert made.measures["failed"] == {"zero-shot": failed.problem}


def test_when_all_fail_it_is_an_error(task, tmp_path):
    with pytest.raises(InputError, match="no way could be compared; majority: stopped after"):
        compare(task, tmp_path / "out", limit_s=0.01)
    assert not (tmp_path / "out").exists()
    # The limit isn't part of what is compared: with another the work goes on where it was.
    assert found(compare(task, tmp_path / "out")).advice.way == "keywords"


RUNNER = """
import signal, sys, json
from bedplate.adapt.compare.stage import COMPARE, CompareConfig
from bedplate.console import Console
from bedplate.ledger import produce
def stop(number, frame):
    raise SystemExit(143)
signal.signal(signal.SIGTERM, stop)
config = CompareConfig.model_validate(json.loads(sys.argv[1]))
produce(COMPARE, config, {}, sys.argv[2], name="c", console=Console.plain())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_interrupted_comparison_goes_on_where_it_was(task, tmp_path, number):
    ways = [*WAYS, {"way": "keywords", "words": 5, "name": "fewer words"}]
    out = tmp_path / "out"
    command = [sys.executable, "-c", RUNNER, json.dumps(settings(task, ways)), str(out)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out.partial-*/measured/majority-seed-0.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    workers = wait_for_child(process.pid)
    os.kill(process.pid, number)
    assert process.wait(30) == (-number if number == signal.SIGKILL else 143)
    _, alive = psutil.wait_procs(workers, timeout=15)
    assert not alive, "a worker outlived its parent"
    (partial,) = tmp_path.glob("out.partial-*")
    before = (partial / "ways/majority/seed-0/bedplate.json").read_bytes()
    made = compare(task, out, ways)
    assert (made.path / "ways/majority/seed-0/bedplate.json").read_bytes() == before
    assert len(found(made).ways) == 3
    whole = compare(task, tmp_path / "whole", ways)
    assert made.digest == whole.digest


def wait_for_child(pid):
    deadline = time.monotonic() + 20
    while not (children := psutil.Process(pid).children()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return children


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ways": ["majority", "majority"]}, "two ways are called 'majority'"),
        ({"ways": ["majority"]}, "at least 2"),
        ({"seeds": [0, 1]}, "at least 3"),
        ({"seeds": [1, 1, 2]}, "needs different ones"),
        ({"ways": ["majority", "magic"]}, "magic"),
    ],
)
def test_settings_that_cant_be_are_refused(task, change, words):
    with pytest.raises(ValueError, match=words):
        CompareConfig.model_validate({**settings(task), **change})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ways": ["majority", "probe"]}, "way 'probe'.*encoder"),
        ({"ways": ["majority", "lora"]}, "way 'lora .base.'.*base"),
        ({"ways": ["majority", "retrieval"]}, "way 'retrieval'"),
        ({"budget": {"labels": 2}}, "budget.labels 2: fewer than the task's 3 classes"),
        ({"task": None}, "no task"),
    ],
)
def test_what_cant_work_is_told_before_a_way_runs(task, tmp_path, change, words):
    config = CompareConfig.model_validate({**settings(task), **change})
    with pytest.raises(RecipeError, match=words):
        produce(COMPARE, config, {}, tmp_path / "out", name="c", console=Console.quiet())
    assert not list(tmp_path.glob("out*"))


def test_a_task_that_cant_be_used_is_told_before_a_way_runs(task, tmp_path):
    with task.open("a") as file:
        file.write('{"text": "broken"}\n')
    with pytest.raises(InputError, match='line 131: no field "label"'):
        compare(task, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_random_ways_run_with_every_seed():
    config = CompareConfig.model_validate(
        {"ways": ["tfidf", "lora", "few-shot", {"way": "few-shot", "examples": "random"}], "seeds": [3, 4, 5]}
    )
    assert [seeds_of(way, config) for way in config.ways] == [(3,), (3, 4, 5), (3,), (3, 4, 5)]


def test_names_of_folders_differ():
    assert slugs(["LoRA (base)", "lora base", "", "LoRA: base!"]) == ["lora-base", "lora-base-2", "way", "lora-base-3"]


def test_the_split_in_words(task):
    config = CompareConfig.model_validate(settings(task))
    assert "by a hash" in split_in_words(config)
    given = CompareConfig.model_validate({**settings(task), "task": {"file": "x", "split": "part"}})
    assert split_in_words(given) == "as the field 'part' says"


@pytest.mark.slow
def test_real_bases_are_compared_and_the_advised_way_can_be_opened(minilm, tmp_path):
    """The encoder tuned with three seeds, beside its embeddings and a baseline, on this machine's own documents."""
    from bedplate.adapt.opening import open_face
    from bedplate.tasks.python_docs import PYTHON_DOCS, PythonDocsConfig

    small = PythonDocsConfig(modules=6, per_module=24)
    documents = produce(PYTHON_DOCS, small, {}, tmp_path / "documents", name="d", console=Console.quiet())
    lora = {"way": "lora", "tune": "encoder", "epochs": 1, "learning_rates": [1e-3]}
    config = CompareConfig.model_validate({"ways": ["tfidf", "probe", lora], "latency_requests": 5})
    made = produce(
        COMPARE,
        config,
        {"task": documents, "encoder": open_artefact(minilm)},
        tmp_path / "out",
        name="c",
        console=Console.quiet(),
    )
    result = found(made)
    assert not result.failed
    ways = {way.name: way for way in result.ways}
    assert len(ways["lora (encoder)"].seeds) == 3
    assert ways["lora (encoder)"].fit_flops > 1e9
    assert ways["probe"].rests_on["encoder"] > 8e7
    assert ways["probe"].prompt_tokens > 5
    assert ways["probe"].score.value > 0.4
    face = open_face(made.path / ways["probe"].folder)
    rows = [json.loads(line) for line in (made.path / "predictions/probe-seed-0.jsonl").read_text().splitlines()]
    texts = {json.loads(line)["id"]: json.loads(line)["input"] for line in (made.path / "test.jsonl").open()}
    assert list(face.classify([texts[row["id"]] for row in rows]).labels) == [row["answer"] for row in rows]


def test_a_mistyped_way_is_told_with_the_nearest():
    from bedplate.config import build
    from bedplate.config.recipe import StageEntry

    entry = StageEntry("cmp", "compare", {}, None, {"task": {"file": "x.jsonl"}, "ways": ["majority", "prob"]})
    with pytest.raises(RecipeError, match=r"unknown way 'prob'; expected one of majority, .*; nearest: probe"):
        build(CompareConfig, entry)
