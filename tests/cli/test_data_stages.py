"""Look, label, filter; and text that a model wrote: as commands and recipes, over real files, processes and HTTP."""

from __future__ import annotations

import csv
import hashlib
import json
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from bedplate.data.corpus import read_corpus
from bedplate.data.labels.record import Label
from bedplate.data.labels.store import LabelFile
from bedplate.ledger import open_artefact

USEFUL = [
    "enzyme",
    "leaf",
    "light",
    "carbon",
    "root",
    "cell",
    "protein",
    "water",
    "sugar",
    "energy",
    "membrane",
    "soil",
]
USELESS = ["click", "winner", "discount", "prize", "offer", "cheap", "deal", "bonus", "casino", "lucky", "jackpot"]
BOTH = ["the", "of", "and", "in", "is", "a", "for", "with", "to", "by", "this", "that", "on", "at", "from"]
RULES = """\
def sells(text):
    return "bad" if "casino" in text or "discount" in text else None

def teaches(text):
    return "good" if "enzyme" in text or "membrane" in text else None

def plays(text):
    return "bad" if "jackpot" in text or "lucky" in text else None

RULES = [sells, teaches, plays]
"""


def documents(count: int) -> list[dict]:
    """Half of them worth reading; `truth` is carried along as metadata."""
    drawn = random.Random(0)
    found = []
    for number in range(count):
        good = number % 2 == 0
        own = USEFUL if good else USELESS
        words = [drawn.choice(own if drawn.random() < 0.4 else BOTH) for _ in range(40)]
        found.append({"text": " ".join(words), "truth": "good" if good else "bad"})
    return found


def write_jsonl(path, rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def corpus_rows(path, columns=("id", "text", "sha256")) -> list[dict]:
    found = []
    for chunk in read_corpus(open_artefact(path, "corpus"), columns):
        found += [dict(zip(columns, row, strict=True)) for row in zip(*(chunk[name] for name in columns), strict=True)]
    return found


def record(row: dict, label: str, annotator: str) -> Label:
    return Label(row["id"], label, annotator, None, 1.0, "2026-01-01T00:00:00Z", row["sha256"])


def recipe(path, stages: dict) -> str:
    path.write_text(yaml.safe_dump({"name": "loop", "stages": stages}, sort_keys=False))
    return path.name


LOOP = {
    "raw": {"do": "curate", "sources": [{"jsonl": "raw.jsonl", "name": "people", "license": "CC0-1.0"}]},
    "quality": {
        "do": "train-filter",
        "inputs": {"corpus": "raw"},
        "examples": [{"path": "examples.jsonl"}],
        "positive": ["good"],
    },
    "clean": {
        "do": "curate",
        "inputs": {"corpus": "raw", "filter": "quality"},
        "classify": {"goodness": {"filter": "quality"}},
        "filters": {"rules": [{"column": "goodness", "min": 0.5, "reason": "not_good"}]},
    },
}


def test_look_label_filter(cli, tmp_path, label_page):
    rows = documents(240)
    write_jsonl(tmp_path / "raw.jsonl", rows)
    (tmp_path / "rules.py").write_text(RULES)
    truth = {row["text"]: row["truth"] for row in rows}
    quality = LOOP["quality"] | {"weak": {"functions": "rules:RULES"}}
    path = recipe(tmp_path / "loop.yaml", LOOP | {"quality": quality})
    made = cli("curate", path, "raw")
    assert made.returncode == 0, made.stderr

    raw = tmp_path / "runs/loop/raw"
    with label_page(tmp_path, "runs/loop/raw", "--choices", "good,bad", "--annotator", "ada", "--most", "60") as page:
        assert page.get("state")["total"] == 60
        for at in range(60):
            document = page.get("document", at=at)
            said = {"id": document["id"], "sha256": document["sha256"], "label": truth[document["text"]]}
            assert page.post("say", **said, action="label", seconds=1.5)["labelled"] == at + 1
    labels = raw.with_name("raw-labels.jsonl")
    assert [label.annotator for label in LabelFile(labels).records()] == ["ada"] * 60
    held = LabelFile(labels).records()
    LabelFile(labels).append(
        *(
            Label(one.document, "bad" if n == 0 else one.label, "bob", None, 2.0, one.time, one.sha256)
            for n, one in enumerate(held[:20])
        )
    )
    told = cli("labels", "agreement", labels)
    assert told.returncode == 0, told.stderr
    assert "60 documents labelled, 20 of them by two annotators or more" in told.stdout
    disagree = held[0].label == "good"
    assert ("Disputed, 1: " + held[0].document in told.stdout) == disagree
    assert json.loads(cli("--json", "labels", "agreement", labels).stdout)["shared"] == 20

    exported = cli("labels", "export", labels, raw, "examples.jsonl")
    assert exported.returncode == 0, exported.stderr
    done = cli("run", path)
    assert done.returncode == 0, done.stderr

    clean = open_artefact(tmp_path / "runs/loop/clean", "corpus")
    counts = clean.measures["stages"]["filters"]
    assert counts["dropped"]["not_good"] == counts["read"] - counts["kept"] == 120
    kept = corpus_rows(clean.path, ("text", "goodness"))
    assert {truth[row["text"]] for row in kept} == {"good"}
    assert all(0.5 <= row["goodness"] <= 1 for row in kept)
    found = open_artefact(tmp_path / "runs/loop/quality", "filter")
    assert found.measures["f1"]["value"] == 1
    assert found.measures["weak"]["functions"]["sells"]["spoke"] > 30
    assert [(entry.role, entry.kind) for entry in clean.manifest.inputs] == [("corpus", "corpus"), ("filter", "filter")]
    shown = cli("show", "runs/loop/quality")
    assert "quality: a filter artefact in runs/loop/quality" in shown.stdout

    again = json.loads(cli("--json", "run", path).stdout)
    assert all(one["cached"] for one in again.values())
    changed = json.loads(cli("--json", "run", path, "quality.balance=false", "--replace").stdout)
    assert [changed[name]["cached"] for name in LOOP] == [True, False, False]  # another filter, another corpus

    # What it is least sure of comes first in the next round.
    options = ("--choices", "good,bad", "--annotator", "ada", "--column", "goodness", "--labels", "next.jsonl")
    with label_page(tmp_path, "runs/loop/clean", *options) as page:
        first, last = page.get("document", at=0), page.get("document", at=page.get("state")["total"] - 1)
        doubts = [abs(document["signals"]["goodness"] - 0.5) for document in (first, last)]
        assert doubts[0] < doubts[1]


def test_labels_go_through_label_studio(cli, tmp_path):
    write_jsonl(tmp_path / "raw.jsonl", documents(40))
    assert cli("curate", recipe(tmp_path / "loop.yaml", LOOP | {}), "raw").returncode == 0
    raw = "runs/loop/raw"
    rows = corpus_rows(tmp_path / raw)[:10]
    LabelFile(tmp_path / "labels.jsonl").append(*(record(row, "good", "ada") for row in rows))
    done = cli("labels", "export", "labels.jsonl", raw, "tasks.json", "--format", "label-studio")
    assert done.returncode == 0, done.stderr
    assert '<Choice value="good"/>' in (tmp_path / "tasks.json.xml").read_text()
    assert "10 new labels" in cli("labels", "import", "tasks.json", "other.jsonl").stderr
    assert json.loads(cli("--json", "labels", "import", "tasks.json", "other.jsonl").stdout)["new"] == 0
    for wrong, expected in (
        (("labels", "agreement", "none.jsonl"), "no labels in it"),
        (("labels", "export", "labels.jsonl", raw, "x", "--format", "label-studio", "--keep", "all"), "--keep belongs"),
        (("label", raw, "--choices", "one", "--annotator", "ada"), "Give two to 9"),
        (("label", raw, "--choices", "a,b", "--annotator", "ada@example.org"), "Give a pseudonym"),
        (("label", raw, "--choices", "a,b", "--annotator", "ada", "--column", "none"), "no column of numbers"),
    ):
        refused = cli(*wrong)
        assert refused.returncode == 2
        assert expected in refused.stderr
        assert "Traceback" not in refused.stderr


def test_a_filter_that_nothing_gives_is_refused(cli, tmp_path):
    write_jsonl(tmp_path / "raw.jsonl", documents(40))
    clean = {"do": "curate", "sources": LOOP["raw"]["sources"], "classify": {"goodness": {"filter": "qualty"}}}
    done = cli("run", recipe(tmp_path / "loop.yaml", {"clean": clean}))
    assert done.returncode == 2
    assert "classify.goodness: 'qualty' is neither an input `filter` nor a folder" in done.stderr
    stages = LOOP | {"clean": LOOP["clean"] | {"classify": {"goodness": {"filter": "qualty"}}}}
    write_jsonl(tmp_path / "examples.jsonl", [{"text": d["text"], "label": d["truth"]} for d in documents(60)])
    done = cli("run", recipe(tmp_path / "loop.yaml", stages))
    assert done.returncode == 2
    assert "the input 'filter' is given, and nothing uses it" in done.stderr


@pytest.mark.slow
def test_the_loop_on_real_tweets(cli, tmp_path, shared_data):
    """Labels for 600 tweets leave a corpus with far fewer offensive ones: of those that nobody labelled."""
    path = shared_data / "hate_tweets/data/labeled_data.csv"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    with path.open(newline="", encoding="utf-8") as file:
        tweets = [(row["tweet"], "fine" if row["class"] == "2" else "foul") for row in csv.DictReader(file)]
    tweets = tweets[::6]
    truth = dict(tweets)
    write_jsonl(tmp_path / "raw.jsonl", [{"text": text} for text in truth])
    foulness = LOOP["quality"] | {
        "positive": ["foul"],
        "features": {"characters": [3, 5]},
        "aim": {"recall": 0.9},
    }
    clean = LOOP["clean"] | {
        "classify": {"foulness": {"filter": "quality"}},
        "filters": {"rules": [{"column": "foulness", "max": 0.6}]},
    }
    name = recipe(tmp_path / "loop.yaml", LOOP | {"quality": foulness, "clean": clean})
    assert cli("curate", name, "raw").returncode == 0
    raw = corpus_rows(tmp_path / "runs/loop/raw")
    labelled = raw[::6][:600]
    LabelFile(tmp_path / "labels.jsonl").append(*(record(row, truth[row["text"]], "ada") for row in labelled))
    assert cli("labels", "export", "labels.jsonl", "runs/loop/raw", "examples.jsonl").returncode == 0
    done = cli("run", name)
    assert done.returncode == 0, done.stderr
    seen = {row["id"] for row in labelled}
    before = [truth[row["text"]] for row in raw if row["id"] not in seen]
    rows = corpus_rows(tmp_path / "runs/loop/clean")
    after = [truth[row["text"]] for row in rows if row["id"] not in seen]
    assert before.count("foul") / len(before) > 0.8
    assert after.count("foul") / len(after) < 0.6
    assert after.count("fine") > 0.5 * before.count("fine")


class StandIn:
    """A served model: a real HTTP server whose answer is a function of the prompt, and of nothing in it."""

    def __init__(self) -> None:
        self.asked = 0
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stand_in.asked += 1
                digest = hashlib.sha256(body["messages"][-1]["content"].encode()).hexdigest()
                said = " ".join(f"{digest[i : i + 4]}ly" for i in range(0, 60, 2)) + "."
                choice = {"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
                reply = {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 30}}
                data = json.dumps(reply).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()


@pytest.fixture
def served():
    made = StandIn()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join()


def test_text_that_a_model_wrote_is_marked_to_the_end(cli, tmp_path, served):
    write_jsonl(tmp_path / "raw.jsonl", documents(80))
    stages = {
        "raw": LOOP["raw"],
        "rephrased": {
            "do": "synthesize",
            "inputs": {"corpus": "raw"},
            "method": "rephrase",
            "license": "CC-BY-4.0",
            "documents": 30,
            "endpoint": {"url": served.url, "model": "stand-in"},
        },
        "mixed": {
            "do": "curate",
            "inputs": {"corpus": ["raw", "rephrased"]},
            "mix": {"weights": {"people": 1, "rephrased": 1}},
            "validation": 0.2,
        },
        "again": {"do": "curate", "inputs": {"corpus": "mixed"}},
    }
    path = recipe(tmp_path / "loop.yaml", stages)
    done = cli("run", path)
    assert done.returncode == 0, done.stderr
    assert served.asked == 30
    raw = {row["id"] for row in corpus_rows(tmp_path / "runs/loop/raw")}
    written = open_artefact(tmp_path / "runs/loop/rephrased", "corpus")
    assert sum(written.measures["synthetic"]["documents"].values()) == 30
    for name in ("mixed", "again"):
        artefact = open_artefact(tmp_path / "runs/loop" / name, "corpus")
        rows = corpus_rows(artefact.path, ("id", "synthetic", "license", "bytes", "copies", "split"))
        marked = [row for row in rows if row["synthetic"] is not None]
        assert {row["id"] for row in rows if row["synthetic"] is None} <= raw
        assert len(marked) == 30
        for row in marked:
            mark = json.loads(row["synthetic"])
            assert (mark["generator"], mark["method"]) == ("stand-in", "rephrase-medium")
            assert (row["id"] in raw, set(mark["of"]) <= raw, row["license"]) == (False, True, "CC-BY-4.0")
        told = artefact.measures["synthetic"]
        assert told["generators"] == {"stand-in": 30}
        for split in ("train", "validation"):
            own = [row for row in marked if row["split"] == split]
            assert told["documents"][split] == len(own)
            assert told["bytes"][split] == sum(row["bytes"] for row in own)
        seen = {"synthetic": 0, "all": 0}
        for row in rows:
            if row["split"] == "train":
                seen["all"] += row["bytes"] * row["copies"]
                seen["synthetic"] += row["bytes"] * row["copies"] * (row["synthetic"] is not None)
        assert told["seen_bytes"] == seen
        assert seen["synthetic"] / seen["all"] == pytest.approx(0.5, abs=0.1)  # equal weights, whole documents
        sources = artefact.measures["sources"]
        assert {label: (one["kept"], one["license"]) for label, one in sources.items()} == {
            "people": (len(rows) - 30, "CC0-1.0"),
            "rephrased": (30, "CC-BY-4.0"),
        }
    assert json.loads(cli("--json", "run", path).stdout)["rephrased"]["cached"]
    assert served.asked == 30
