"""Comparisons of classes, put to a real server on this machine: all tokens that are paid for, failures, the key."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # with --import-mode=importlib a folder's own modules aren't found
from stand_in import KEY, StandIn

from bedplate.adapt.compare.results import Comparison
from bedplate.adapt.compare.stage import COMPARE, CompareConfig
from bedplate.console import Console
from bedplate.ledger import produce

WORDS = {"animal": "cat", "tool": "saw"}


@pytest.fixture
def task(tmp_path):
    rows = [{"text": f"number {n}: the {word} there", "label": k} for k, word in WORDS.items() for n in range(40)]
    path = tmp_path / "task.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def label(body):
    return "animal" if "cat" in body["messages"][-1]["content"] else "tool, which takes many more words to say"


def compare(task, url, out, **endpoint):
    asked = {"url": url, "model": "small", "prompt_price": 1.0, "completion_price": 100.0, "retries": 0} | endpoint
    config = CompareConfig.model_validate(
        {
            "task": {"file": str(task)},
            "ways": ["majority", "zero-shot"],
            "endpoint": asked,
            "prices": {"cpu_hour": 0, "label": 0.5},
            "latency_requests": 5,
        }
    )
    made = produce(COMPARE, config, {}, out, name="comparison", console=Console.quiet())
    return made, Comparison.model_validate_json((made.path / "comparison.json").read_bytes())


def by_name(result):
    return {way.name: way for way in result.ways}


@pytest.mark.parametrize("scores", ["parse", "logprobs"])
def test_all_tokens_are_priced_and_all_labels_counted(task, tmp_path, scores):
    def likely(text, i):
        return -1.0 if ("cat" in text) == ("animal" in text.rsplit(" ", 1)[-1]) else -9.0

    with StandIn(answer=label, logprob=likely) as server:
        _, result = compare(task, server.url, tmp_path / "out", label_scores=scores)
    way, majority = by_name(result)["zero-shot"], by_name(result)["majority"]
    (seed,) = way.seeds
    assert way.cost_known
    each = 1 if scores == "parse" else 2  # an echo for each label, which writes one token
    assert way.completion_tokens > 1 if scores == "parse" else way.completion_tokens == each
    assert way.prompt_tokens > 5
    assert way.cost_1000 == pytest.approx(1000 * (way.prompt_tokens + 100 * way.completion_tokens) / 1e6)
    assert seed.measured.fit_completion_tokens >= each * result.task.validation
    tokens = (seed.measured.fit_prompt_tokens + 100 * seed.measured.fit_completion_tokens) / 1e6
    assert (way.labels_used, way.labels_for_choices) == (0, result.task.validation)
    assert way.fit_cost == pytest.approx(0.5 * result.task.validation + tokens)
    assert (majority.labels_used, majority.labels_for_choices) == (result.task.train, 0)
    assert majority.fit_cost == pytest.approx(0.5 * result.task.train)
    assert way.fit_s == seed.measured.fit_s > seed.measured.chosen["train_seconds"]


def test_usage_that_isnt_stated_makes_the_cost_unknown(task, tmp_path):
    with StandIn(answer=label, usage=False) as server:
        made, result = compare(task, server.url, tmp_path / "out", label_scores="parse")
    way = by_name(result)["zero-shot"]
    assert (way.cost_known, way.prompt_tokens, way.completion_tokens, way.break_even) == (False, None, None, None)
    assert way.seeds[0].measured.fit_prompt_tokens is None
    page = (made.path / "report.html").read_text()
    assert page.count("unknown</") >= 4
    assert "What zero-shot costs isn" in page


def test_what_failed_is_tried_again_as_the_page_says(task, tmp_path, monkeypatch):
    monkeypatch.setenv("OUR_KEY", f"{KEY}\n")
    out = tmp_path / "out"
    with StandIn(answer=label, key="another") as server:  # it quotes the key that it refuses
        made, result = compare(task, server.url, out, label_scores="parse", key="OUR_KEY")
        assert [failed.name for failed in result.failed] == ["zero-shot"]
        for path in made.path.rglob("*"):
            assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
        page = (made.path / "report.html").read_text()
        assert "***" in page
        assert result.try_again.replace("&", "&amp;") in page
        assert "try_again" in (made.path / "bedplate.json").read_text()
        server.key = KEY
        assert compare(task, server.url, out, label_scores="parse", key="OUR_KEY")[0].cached
        before = (out / "ways/majority/seed-0/bedplate.json").read_bytes()
        subprocess.run(result.try_again, shell=True, check=True, cwd=tmp_path)
        made, result = compare(task, server.url, out, label_scores="parse", key="OUR_KEY")
    assert (set(by_name(result)), result.failed, result.try_again) == ({"majority", "zero-shot"}, (), None)
    assert (out / "ways/majority/seed-0/bedplate.json").read_bytes() == before
    made.verify()
    assert not made.strangers()
    assert not list(tmp_path.glob("out.partial-*"))
