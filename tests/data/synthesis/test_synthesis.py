"""The stage against a real server on the loopback: every answer accounted for, nothing asked twice, kills survived."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from bedplate.data.corpus import CORPUS_SCHEMA
from bedplate.data.synthesis.asking import Answer, Journal, Request
from bedplate.data.synthesis.config import SynthesizeConfig
from bedplate.errors import InputError, RecipeError, UserError

TEXTS = [f"Document {n} tells of things that happened. " + " ".join(f"t{n}y{i}" for i in range(30)) for n in range(24)]


def rows(folder):
    return pq.read_table(folder / "part-00000.parquet").to_pylist()


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def endpoint(server, **options):
    return {"url": server.url, "model": "stand-in", "retries": 1} | options


def adds_up(measures):
    dropped, failed = sum(measures["dropped"].values()), sum(measures["failed"].values())
    return measures["read"] == measures["kept"] + dropped + failed


def test_passages_are_rephrased_and_marked(tmp_path, seeds, stand_in, mumble, synthesize):
    server = stand_in(lambda prompt: "Here is the rewritten passage:\n\n" + mumble(prompt))
    corpus = seeds([*TEXTS, "too short"])
    measures = synthesize(
        tmp_path / "out", corpus, method="rephrase", styles=("easy", "hard"), endpoint=endpoint(server)
    )
    found = rows(tmp_path / "out")
    assert list(found[0]) == list(CORPUS_SCHEMA | {"synthetic": ""})
    assert (measures["read"], measures["kept"], measures["dropped"]) == (50, 48, {"short_passage": 2})
    assert adds_up(measures)
    assert measures["usage"] == {"requests": 48, "prompt_tokens": 7 * 48, "completion_tokens": 3 * 48}
    assert measures["licenses"] == {"CC-BY-4.0": 48}
    assert measures["seed_licenses"] == {"CC0-1.0": 48}
    by_seed = {row["id"]: row for row in rows(corpus.path)}
    for row in found:
        marks = json.loads(row["synthetic"])
        assert (marks["generator"], marks["prompt"]) == ("stand-in", 1)
        assert marks["method"] in ("rephrase-easy", "rephrase-hard")
        seed = by_seed[marks["of"][0]]
        assert (row["split"], row["language"], row["license"]) == (seed["split"], "en", "CC-BY-4.0")
        assert row["text"].startswith("w")
    assert len({row["source"] for row in found}) == 48
    assert not (tmp_path / "out" / "answers.jsonl").exists()


def test_questions_with_answers_are_text_and_conversations(tmp_path, seeds, stand_in, synthesize):
    server = stand_in(lambda p: f"Question: What of {p[-5:]}?\nAnswer: That.\n\nQuestion: And?\nAnswer: {p[-4:]}, too.")
    measures = synthesize(tmp_path / "out", seeds(TEXTS), method="question-answer", endpoint=endpoint(server))
    found = rows(tmp_path / "out")
    assert found[0]["text"] == "Question: What of t0y29?\nAnswer: That.\n\nQuestion: And?\nAnswer: 0y29, too."
    lines = [json.loads(line) for line in (tmp_path / "out" / "conversations.jsonl").read_text().splitlines()]
    assert len(lines) == 2 * measures["kept"]
    assert {line["document"] for line in lines} == {row["id"] for row in found}
    assert lines[0]["messages"][1] == {"role": "assistant", "content": "That."}
    assert lines[0]["synthetic"]["generator"] == "stand-in"


def test_what_is_wrong_with_answers_is_counted(tmp_path, seeds, stand_in, mumble, synthesize):
    """By the document's number: a refusal, nothing, a copy, two words, an error, the same again, and good ones."""

    def answer(prompt):
        number = int(prompt.rpartition("Document ")[2].split()[0])
        bad = {
            0: "I'm sorry, I can't.",
            1: "  ",
            2: TEXTS[2],
            3: "Two words",
            4: 400,
            5: mumble("same"),
            6: mumble("same"),
        }
        return bad.get(number, mumble(prompt))

    server = stand_in(answer)
    measures = synthesize(tmp_path / "out", seeds(TEXTS), method="rephrase", endpoint=endpoint(server))
    assert measures["dropped"] == {"copy": 1, "duplicate": 1, "empty": 1, "refusal": 1, "too_short": 1}
    assert measures["failed"] == {"status_400": 1}
    assert (measures["read"], measures["kept"]) == (24, 18)
    others = pq.read_table(tmp_path / "out" / "dropped.parquet").to_pylist()
    assert sorted(row["reason"] for row in others) == [
        "copy", "duplicate", "empty", "refusal", "status_400", "too_short",
    ]  # fmt: skip
    server.cut = True
    with pytest.raises(InputError, match=r"nothing that stand-in wrote was kept .*cut_off 22"):
        synthesize(tmp_path / "cut", seeds(TEXTS, "more"), method="rephrase", endpoint=endpoint(server))


def tasks(prompt, mumble):
    if "Go on with" not in prompt:
        return f"The answer is {mumble(prompt, 12)}"
    words = mumble(prompt, 64).rstrip(".").split()
    listed = [f"{n}. Explain {' '.join(words[8 * n : 8 * n + 8])} to me." for n in range(6)]
    return "\n".join([*listed, "7. Draw a picture of a house and a tree.", listed[0].replace("0.", "8.")])


def test_tasks_come_from_tasks_and_are_unlike_each_other(tmp_path, seeds, stand_in, mumble, synthesize):
    server = stand_in(lambda prompt: tasks(prompt, mumble))
    corpus = seeds([f"Tell me about number {n} in history.\n\nIt is {n}." for n in range(12)])
    options = {"method": "self-instruct", "instructions": 120}
    measures = synthesize(tmp_path / "out", corpus, endpoint=endpoint(server), **options)
    found = rows(tmp_path / "out")
    assert len(found) == measures["kept"] == 120
    assert adds_up(measures)
    assert measures["dropped"]["beyond_text"] == 32  # two rounds of sixteen
    assert measures["dropped"]["similar"] >= 16  # each list repeats itself; what isn't needed isn't compared
    assert measures["documents"]["validation"] > 0
    assert all(len(json.loads(row["synthetic"])["of"]) >= 6 for row in found)
    assert all(row["text"].partition("\n\n")[2].startswith("The answer is w") for row in found)
    again = stand_in(lambda prompt: tasks(prompt, mumble))
    synthesize(tmp_path / "again", corpus, endpoint=endpoint(again, concurrency=1), **options)
    assert bytes_of(tmp_path / "again") == bytes_of(tmp_path / "out")


KILLED = """
import importlib.util, json, sys
from pathlib import Path
from types import SimpleNamespace
spec = importlib.util.spec_from_file_location("beside", sys.argv[1])
beside = importlib.util.module_from_spec(spec)
spec.loader.exec_module(beside)
corpus = SimpleNamespace(path=Path(sys.argv[3]), measures={"bytes": {"train": 1, "validation": 1}})
beside.synthesize(Path(sys.argv[2]), corpus, **json.loads(sys.argv[4]))
"""


def test_a_kill_loses_only_what_was_under_way(tmp_path, seeds, stand_in, mumble, synthesize):
    """Killed three times, then finished: the same bytes as without, and no more asked than was under way."""
    server = stand_in(mumble)
    config = {"method": "rephrase", "styles": ["easy", "medium"], "endpoint": endpoint(server, concurrency=4)}
    corpus = seeds(TEXTS)
    synthesize(tmp_path / "whole", corpus, **config)
    asked, server.delay = len(server.asked), 0.05
    beside = os.path.join(os.path.dirname(__file__), "conftest.py")
    start = [sys.executable, "-c", KILLED, beside, str(tmp_path / "out"), str(corpus.path), json.dumps(config)]
    for attempt in range(3):
        before = len(server.asked)
        process = subprocess.Popen(start)
        deadline = time.monotonic() + 30
        while len(server.asked) < before + 8 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(0.1)
        assert (tmp_path / "out" / "answers.jsonl").exists(), attempt
    synthesize(tmp_path / "out", corpus, **config)
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "whole")
    assert len(server.asked) - asked <= asked + 3 * 4
    assert all(count <= 4 for count in map(server.asked.count, set(server.asked)))


def test_a_torn_line_of_the_journal_is_forgotten(tmp_path):
    one, other = (Request((("user", text),), 1) for text in ("one", "other"))
    journal = Journal(tmp_path / "answers.jsonl")
    journal.add([(one, Answer("first ü", False)), (other, Answer("second", True, 1, 2))])
    journal.close()
    whole = (tmp_path / "answers.jsonl").read_bytes()
    (tmp_path / "answers.jsonl").write_bytes(whole[:-5])
    journal = Journal(tmp_path / "answers.jsonl")
    assert journal.find(one) == Answer("first ü", False)
    assert journal.find(other) is None
    journal.add([(other, Answer("second", True, 1, 2))])
    assert journal.find(other) == Answer("second", True, 1, 2)
    journal.remove()


def test_errors_that_pass_are_tried_again_and_others_stop_it(
    tmp_path, seeds, stand_in, mumble, synthesize, monkeypatch
):
    corpus = seeds(TEXTS)
    states = iter([503, 429, *[0] * 1000])
    server = stand_in(lambda prompt: next(states) or mumble(prompt))
    measures = synthesize(tmp_path / "out", corpus, method="rephrase", endpoint=endpoint(server, retries=3))
    assert measures["failed"] == {}
    refusing = stand_in(lambda prompt: 401)
    monkeypatch.setenv("SECRET_KEY", "s3cret-s3cret")
    with pytest.raises(UserError, match=r"the key was refused \(401\)") as caught:
        synthesize(tmp_path / "no", corpus, method="rephrase", endpoint=endpoint(refusing, key="SECRET_KEY"))
    assert "s3cret" not in str(caught.value)
    assert refusing.bodies[0]["authorization"] == "Bearer s3cret-s3cret"
    failing = stand_in(lambda prompt: 400 if "Document 1" in prompt else mumble(prompt))
    with pytest.raises(InputError, match=r"11 of 24 requests failed: .*refused the request \(400\)"):
        synthesize(tmp_path / "half", corpus, method="rephrase", endpoint=endpoint(failing))
    assert (tmp_path / "half" / "answers.jsonl").exists()
    failing.stop()
    monkeypatch.setattr("bedplate.generate.endpoint_http.FIRST_WAIT_S", 0.01)
    with pytest.raises(UserError, match="Connection refused"):
        synthesize(tmp_path / "gone", corpus, method="rephrase", endpoint=endpoint(failing))


def test_settings_that_cant_be_are_refused(tmp_path, seeds, synthesize):
    for wrong in ({}, {"license": "x"}, {"method": "rephrase", "license": ""}):
        with pytest.raises(ValidationError):
            SynthesizeConfig(**wrong)
    with pytest.raises(ValidationError, match="pairs goes with method question-answer"):
        SynthesizeConfig(method="rephrase", license="x", pairs=5)
    with pytest.raises(ValidationError, match="url"):
        SynthesizeConfig(method="rephrase", license="x", endpoint={"url": "ftp://x", "model": "m"})
    with pytest.raises(RecipeError, match="not none"):
        synthesize(tmp_path / "out", seeds(TEXTS), method="rephrase")


def test_a_local_model_writes_the_same_after_an_interruption(tmp_path, seeds, tiny_writer, synthesize):
    corpus = seeds([" ".join(f"word{n}" for n in range(k, k + 25)) for k in range(5)])
    model = SimpleNamespace(path=tiny_writer, name="tiny", digest="0123456789abcdef")
    config = {"method": "rephrase", "max_tokens": 12, "temperature": 0.0, "batch": 2}
    config["copied"] = 1.0
    outcomes = []
    for name in ("one", "two"):
        try:
            outcomes.append(synthesize(tmp_path / name, corpus, model, **config))
        except InputError as error:  # a random model may write nothing that is worth keeping
            outcomes.append(error.problem)
    assert outcomes[0] == outcomes[1]
    if isinstance(outcomes[0], str):
        assert "cut_off" in outcomes[0]
        journals = [(tmp_path / name / "answers.jsonl").read_bytes() for name in ("one", "two")]
        assert journals[0] == journals[1]
        (tmp_path / "two" / "answers.jsonl").write_bytes(journals[0].splitlines(keepends=True)[0])
        with pytest.raises(InputError, match="cut_off"):
            synthesize(tmp_path / "two", corpus, model, **config)
        left, whole = ((tmp_path / name / "answers.jsonl").read_bytes().splitlines() for name in ("two", "one"))
        assert set(left) == set(whole)
