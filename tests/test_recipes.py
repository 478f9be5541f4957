"""Every recipe of the repository can be planned as it stands: verbs, fields, inputs and their kinds.

Those that read a user's data are carried out on stand-ins: the crawl with everything that it names beside it, the loop
of labels up to where a person labels, and on from there.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from bedplate.config import load_recipe
from bedplate.ledger import open_artefact
from bedplate.pipeline.plan import plan

ROOT = Path(__file__).resolve().parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
VOCABULARY = (
    "the of and to have be that with river stone bridge market winter garden letter window harbour teacher village "
    "morning paper silver engine mountain kitchen captain summer history island doctor weather"
)


def _name(path: Path) -> str:
    return path.stem


def _prose(number: int, sentences: int = 12) -> str:
    """English-looking text like no other."""
    draw = random.Random(number)
    return " ".join(" ".join(draw.choices(VOCABULARY.split(), k=12)).capitalize() + "." for _ in range(sentences))


def _record(url: str, body: str, kind: str = "text/html") -> bytes:
    block = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n{body}".encode()
    head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nContent-Length: {len(block)}\r\n\r\n"
    return gzip.compress(head.encode() + block + b"\r\n\r\n", mtime=0)


def _page(text: str) -> str:
    paragraphs = "".join(f"<p>{sentence}.</p>" for sentence in text.split(".") if sentence)
    return f"<html><title>A page</title><body><article>{paragraphs}</article></body></html>"


@pytest.mark.parametrize("path", RECIPES, ids=_name)
def test_a_recipe_can_be_planned(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    steps = plan(load_recipe(path))
    assert {step.name for step in steps} == set(yaml.safe_load(path.read_text())["stages"])
    assert all(step.out.parts[:2] == ("runs", path.stem) for step in steps)


@pytest.mark.parametrize("path", RECIPES, ids=_name)
def test_a_recipe_says_how_it_is_run(path):
    comment = re.match(r"(#.*\n)+", path.read_text())
    assert comment
    assert f"bedplate run recipes/{path.name}" in comment[0] or f"make {path.stem}" in comment[0]


def test_the_crawl(cli, tmp_path):
    shutil.copy(ROOT / "recipes/curate-web.yaml", tmp_path)
    (tmp_path / "crawl").mkdir()
    (tmp_path / "books").mkdir()
    records = [
        _record("https://closed.example/robots.txt", "User-agent: GPTBot\nDisallow: /\n", "text/plain"),
        _record("https://closed.example/", _page(_prose(0))),
        _record("https://copied.example/", _page(_prose(1))),
        _record("https://tiny.example/", _page("Too short.")),
        *(_record(f"https://site{number}.example/", _page(_prose(number))) for number in range(1, 30)),
    ]
    (tmp_path / "crawl/a.warc.gz").write_bytes(b"".join(records))
    for number in range(40, 70):
        (tmp_path / f"books/{number}.txt").write_text(_prose(number, 40))
    asked = " ".join(_prose(5).split()[10:40])
    (tmp_path / "evaluation.jsonl").write_text(json.dumps({"question": asked}) + "\n")
    # What was drawn from thirty words is too repetitive for Gopher, and no language is sure of it.
    done = cli("curate", "curate-web.yaml", "corpus.filters.gopher_repetition=null", "corpus.filters.languages=[]")
    assert done.returncode == 0, done.stderr
    corpus = open_artefact(tmp_path / "runs/curate-web/corpus", "corpus")
    dropped = pq.read_table(corpus.file("dropped.parquet")).to_pylist()
    fates = {row["url"]: row["reason"] for row in dropped if row["url"]}
    assert fates["https://closed.example/robots.txt"] == "not_a_document"
    assert fates["https://closed.example/"] == "opted_out"
    assert fates["https://tiny.example/"] == "gopher_words"
    assert fates["https://site5.example/"] == "contaminated"
    assert fates["https://site1.example/"] == "exact_duplicate"
    mixture = corpus.measures["joint"]["mix"]
    assert mixture["web"]["share"] == pytest.approx(mixture["books"]["share"])
    assert corpus.measures["sources"]["web"]["read"] == len(records)


def test_the_loop_of_labels(cli, tmp_path):
    pytest.importorskip("sklearn")
    shutil.copy(ROOT / "recipes/curate-labels.yaml", tmp_path)
    (tmp_path / "documents").mkdir()
    for number in range(120):
        text = _prose(number) + (" Buy now, limited offer, click here." if number % 2 else "")
        (tmp_path / f"documents/{number:03d}.html").write_text(_page(text))
    done = cli("curate", "curate-labels.yaml", "raw")
    assert done.returncode == 0, done.stderr
    missing = cli("run", "curate-labels.yaml")
    assert missing.returncode == 2
    assert "examples.jsonl" in missing.stderr
    rows = pq.read_table(tmp_path / "runs/curate-labels/raw/part-00000.parquet", columns=["id", "text"]).to_pylist()
    label = {row["id"]: "bad" if "limited offer" in row["text"] else "good" for row in rows}
    lines = [json.dumps({"id": row["id"], "text": row["text"], "label": label[row["id"]]}) for row in rows]
    (tmp_path / "examples.jsonl").write_text("\n".join(lines) + "\n")
    done = cli("run", "curate-labels.yaml")
    assert done.returncode == 0, done.stderr
    kept = pq.read_table(tmp_path / "runs/curate-labels/corpus/part-00000.parquet", columns=["id"])["id"].to_pylist()
    assert sum(label[id_] == "good" for id_ in kept) > 0.9 * sum(one == "good" for one in label.values())
    assert sum(label[id_] == "bad" for id_ in kept) < 0.1 * len(kept)
