"""`bedplate data ...` and `show --used-by` as processes, on a corpus that a model was trained on."""

from __future__ import annotations

import json
import random
import shutil

import pytest
import yaml

from bedplate.console import Console
from bedplate.pipeline.runner import run

WORDS = "the gear and shaft of a plate have oil that turns with it to hold and cool be lifted slow fast".split()  # noqa: SIM905
SHAPE = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A project whose recipe has run: runs/tiny/corpus, tokenizer, tokens, model, release."""
    root = tmp_path_factory.mktemp("project")
    choose = random.Random(0)
    rows = [
        {"text": " ".join(choose.choices(WORDS, k=30)) + f" {n}.", "url": f"https://{'ab'[n % 2]}.org/{n}"}
        for n in range(60)
    ]
    rows.append({"text": "too short", "url": "https://a.org/short"})
    (root / "crawl.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stages = {
        "corpus": {
            "do": "curate", "validation": 0.2, "signals": {}, "filters": {"rules": [{"column": "words", "min": 5}]},
            "sources": [
                {"jsonl": str(root / "crawl.jsonl"), "license": "CC0-1.0", "url_field": "url", "name": "crawl"},
            ],
        },
        "tokenizer": {"do": "train-tokenizer", "inputs": {"corpus": "corpus"}, "vocabulary": 300},
        "tokens": {"do": "tokenize", "inputs": {"corpus": "corpus", "tokenizer": "tokenizer"}},
        "model": {
            "do": "pretrain", "inputs": {"tokens": "tokens"}, "architecture": SHAPE, "steps": 6, "batch": 4,
            "length": 32, "dtype": "float32", "threads": 1, "compile": "no", "device": "cpu", "validation_tokens": 100,
        },
    }  # fmt: skip
    for name, stage in stages.items():
        stage["out"] = str(root / "runs" / "tiny" / name)
    (root / "tiny.yaml").write_text(yaml.safe_dump({"name": "tiny", "stages": stages}))
    run(root / "tiny.yaml", console=Console.quiet())
    return root


@pytest.fixture
def project(whole, tmp_path):
    shutil.copytree(whole / "runs", tmp_path / "runs", ignore=shutil.ignore_patterns(".*.lock", "checkpoints"))
    shutil.copy(whole / "tiny.yaml", tmp_path)
    return tmp_path


CORPUS = "runs/tiny/corpus"


def ok(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_a_document_to_the_steps_and_out_again(cli, project):
    """Why shows the steps that saw it; removal takes it out of corpus and shards, and names what learnt it."""
    url = next(
        f"https://b.org/{n}"
        for n in range(1, 60, 2)
        if "split train" in cli("data", "why", CORPUS, f"https://b.org/{n}").stdout
    )
    facts = json.loads(ok(cli("data", "why", CORPUS, url, "--json")))["documents"][0]
    model = next(one for one in facts["used"]["runs"] if one["path"].endswith("model"))
    assert model["of"] == 6
    assert model["steps"]
    words = ok(cli("data", "why", CORPUS, facts["id"][:10]))
    assert f"of 6: {model['steps'][0]}" in words
    assert "train-00000.npy: tokens" in words
    done = ok(cli("data", "remove", CORPUS, "--match", f"url={url}", "--why", "asked on Monday", "--in-place"))
    assert "1 document taken out" in done
    assert "run        " in done
    assert "What a model has learnt can't be taken out of it" in done
    after = ok(cli("data", "why", CORPUS, url))
    assert f"dropped by remove: taken_down: asked on Monday (url={url.removeprefix('https://')})" in after
    assert f"of 6: {model['steps'][0]}" in after  # told by the table of tokens from before
    users = json.loads(ok(cli("show", CORPUS, "--used-by", "--json")))["used_by"]
    assert {"tokens", "tokenizer", "run"} <= {user["kind"] for user in users}
    ok(cli("show", "runs/tiny/tokens", "--verify"))


def test_remove_beside_and_diff(cli, project):
    out = "runs/tiny/corpus-2"
    answer = json.loads(
        ok(cli("data", "remove", CORPUS, "--match", "domain=b.org", "--why", "x", "--out", out, "--json"))
    )
    assert answer["removed"]["documents"] == 30
    assert [path.rpartition("/")[2] for path in answer["tokens"]] == ["tokens-corpus-2"]
    table = ok(cli("data", "diff", CORPUS, out))
    assert "tokens" in table.splitlines()[0]
    assert "crawl: taken_down 30" in table
    facts = json.loads(ok(cli("data", "diff", CORPUS, out, "--json")))
    assert facts["removed"]["crawl"]["documents"] == 30
    assert facts["removed"]["crawl"]["tokens"] > 0


def test_preview(cli, project):
    said = ok(cli("data", "preview", CORPUS))
    assert "61 documents, of which 1 would be dropped" in said
    assert "too short" in said
    tried = json.loads(ok(cli("data", "preview", CORPUS, "--rules", "words>=1000", "--samples", "3", "--json")))
    assert tried["dropped"] == 61
    assert len(tried["rules"][0]["samples"]) == 3
    assert ok(cli("data", "preview", CORPUS, "--recipe", "tiny.yaml")) == said
    assert ok(cli("data", "preview", CORPUS, "corpus", "--recipe", "tiny.yaml")) == said


def test_mix(cli, project):
    said = ok(cli("data", "mix", CORPUS, "--weight", "crawl=1", "--budget", "1e6"))
    assert "as often as it may" in said
    facts = json.loads(ok(cli("data", "mix", CORPUS, "--temperature", "2", "--json")))
    assert facts["crawl"]["epochs"] == pytest.approx(1)


def test_show_used_by(cli, project):
    lines = ok(cli("show", CORPUS, "--used-by")).splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["1", "tokenizer"], ["1", "tokens"], ["2", "run"]]
    assert "nothing in" in ok(cli("show", "runs/tiny/model", "--used-by", "--within", "runs"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["why", CORPUS, "https://none.org"], "no document is called 'https://none.org'"),
        (["why", "runs", "x"], "not an artefact"),
        (["why", "runs/tiny/tokens", "x"], "where corpus is needed"),
        (["why", CORPUS, "https://a.org/0", "--within", "none"], "no such folder"),
        (["remove", CORPUS, "--match", "domain=b.org", "--in-place"], "no reason is given"),
        (["remove", CORPUS, "--match", "domain=b.org", "--why", "x"], "where to"),
        (["remove", CORPUS, "--match", "domain=z.org", "--why", "x", "--in-place"], "none of its documents matches"),
        (["remove", CORPUS, "--match", "b.org", "--why", "x", "--in-place"], "doesn't say what to match by"),
        (["diff", CORPUS, "none"], "no such artefact"),
        (["preview", CORPUS, "--rules", "wrods>=3"], "no step measures"),
        (["preview", CORPUS, "--rules", "words=3"], "no threshold"),
        (["preview", CORPUS, "corpus"], "a stage of which recipe?"),
        (["preview", CORPUS, "tokens", "--recipe", "tiny.yaml"], "which curation? It has: corpus"),
        (["mix", CORPUS, "--weight", "craw=1"], "expected one of crawl"),
        (["mix", CORPUS, "--weight", "crawl"], "not SOURCE=SHARE"),
        (["mix", CORPUS, "--weight", "crawl=1", "--temperature", "2"], "two ways to say the same"),
        (["mix", CORPUS, "--budget", "-1"], "budget"),
    ],
)
def test_mistakes(whole, arguments, message, capsys, monkeypatch):
    from bedplate.cli.entry import main

    monkeypatch.chdir(whole)
    assert main(["data", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_help_has_examples(cli):
    for verb in ("why", "remove", "diff", "preview", "mix"):
        assert f"bedplate data {verb}" in ok(cli("data", verb, "--help"))
    assert "remove" in ok(cli("data", "--help"))
