"""A comparison of free-text answers, put to a real server on this machine: exact match, seeds, tokens, prices."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bedplate.adapt.compare.results import Comparison
from bedplate.adapt.compare.stage import COMPARE, CompareConfig
from bedplate.console import Console
from bedplate.errors import RecipeError
from bedplate.ledger import produce


class Sums(BaseHTTPRequestHandler):
    """Adds well where the prompt shows examples, and badly where it doesn't. A hundred tokens read, three written."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["messages"][-1]["content"].strip().splitlines()[-1]
        digits = [int(word) for word in question.replace("?", " ").split() if word.isdigit()]
        shown = "is 5." in json.dumps(body["messages"]) or len(body["messages"]) > 2
        text = f"It is {sum(digits[-2:]) if shown else 0}."
        answer = {
            "id": "x", "object": "chat.completion", "created": 0, "model": "sums",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 3, "total_tokens": 103},
        }  # fmt: skip
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def endpoint():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sums)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


def questions(path):
    rows = [{"prompt": f"What is {a} plus {b} ?", "answer": f"it is {a + b}"} for a in range(10) for b in range(10)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_answers_of_an_endpoint(tmp_path, endpoint):
    config = CompareConfig.model_validate(
        {
            "task": {"file": questions(tmp_path / "sums.jsonl")},
            "ways": ["zero-shot", {"way": "few-shot", "examples": "random", "shots": 3}],
            "endpoint": {"url": endpoint, "model": "sums", "prompt_price": 10.0, "completion_price": 100.0},
            "prices": {"cpu_hour": 0, "currency": "EUR"},
            "test": 12,
            "latency_requests": 5,
            "requests": 1000,
        }
    )
    made = produce(COMPARE, config, {}, tmp_path / "out", name="sums", console=Console.quiet())
    result = Comparison.model_validate_json((made.path / "comparison.json").read_bytes())
    few, zero = result.ways
    assert (result.task.kind, result.task.metric, result.task.second) == ("generation", "exact match", "word F1")
    assert (few.name, few.score.value, len(few.seeds), few.spread) == ("few-shot (random)", 1.0, 3, (1.0, 1.0))
    assert few.score.low < 1.0
    assert (len(zero.seeds), zero.score.value < 0.4) == (1, True)
    assert zero.abstained == zero.cited == 0
    assert zero.prompt_tokens == 100
    assert zero.cost_1000 == pytest.approx(1000 * (100 * 10 + 3 * 100) / 1e6)
    assert few.break_even is None
    assert zero.break_even.against == "few-shot (random)"
    assert result.advice.way == "few-shot (random)"
    page = (made.path / "report.html").read_text()
    assert "EUR for 1,000" in page
    assert "declined" in page


def test_ways_of_classes_are_refused_for_answers(tmp_path, endpoint):
    config = CompareConfig.model_validate(
        {
            "task": {"file": questions(tmp_path / "sums.jsonl")},
            "ways": ["majority", "zero-shot"],
            "endpoint": {"url": endpoint, "model": "sums"},
        }
    )
    with pytest.raises(RecipeError, match="way 'majority'"):
        produce(COMPARE, config, {}, tmp_path / "out", name="sums", console=Console.quiet())
