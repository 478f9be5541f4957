"""The evaluate stage on artefacts made by the real stages, from documents to report."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from bedplate.console import Console
from bedplate.data.best_fit import BestFitRows
from bedplate.data.packing import PackedRows
from bedplate.data.tokens import TokenSet
from bedplate.errors import ArtefactError, InputError, RecipeError, TokenizerError, UserError
from bedplate.evaluate.held_out import documents_seen, sample_held_out, training_documents
from bedplate.evaluate.language import text_perplexity
from bedplate.evaluate.scoring import load_for_evaluation
from bedplate.ledger import open_artefact
from bedplate.pipeline import verbs

QUICK = {"samples": 4, "sample_tokens": 16, "max_bytes": 4000}
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}


def source_file(number: int) -> str:
    body = "".join(f"def f{i}(x):\n    return x * {i * number} + {number}\n\n\n" for i in range(4 + number % 5))
    return f'"""Module {number}: é."""\n\nimport os\n\n\n{body}'


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    (folder / "raw").mkdir()
    for number in range(60):
        (folder / "raw" / f"m{number}.py").write_text(source_file(number))
    quiet = {"console": Console.quiet()}
    sources = [{"folder": str(folder / "raw"), "license": "MIT"}]
    corpus = verbs.curate({"sources": sources, "validation": 0.3}, {}, folder / "corpus", **quiet)
    tokenizer = verbs.train_tokenizer({"vocabulary": 320}, {"corpus": corpus}, folder / "tokenizer", **quiet)
    tokens = verbs.tokenize({}, {"corpus": corpus, "tokenizer": tokenizer}, folder / "tokens", **quiet)
    training = {"steps": 6, "batch": 4, "length": 32, "architecture": SHAPE, "threads": 1}
    run = verbs.pretrain(training, {"tokens": tokens}, folder / "model", **quiet)
    return {"corpus": corpus, "tokenizer": tokenizer, "tokens": tokens, "run": run}


def inputs(made, **others):
    return {role: made[role] for role in ("run", "tokens", "corpus")} | others


@pytest.fixture(scope="module")
def evaluated(made, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated") / "evaluation"
    return verbs.evaluate(QUICK, inputs(made), out, console=Console.quiet())


def test_the_report_holds_the_comparison(evaluated, made):
    result = json.loads(evaluated.file("evaluation.json").read_text())
    rows = {row["name"]: row for row in result["language"]["rows"]}
    assert list(rows) == [
        "the model",
        "5-gram (same tokens)",
        "5-gram (all tokens)",
        "gzip -9",
        "gzip -9 (one stream)",
        "xz -9",
        "xz -9 (one stream)",
    ]
    assert rows["5-gram (same tokens)"]["knows"] == f"{6 * 4 * 32:,} tokens"
    assert rows["the model"]["interval"][0] <= rows["the model"]["bits_per_byte"] <= rows["the model"]["interval"][1]
    # Six steps teach next to nothing: counting everything must win, and the report must say so.
    assert "worse than" in result["language"]["verdict"]
    assert "5-gram (all tokens)" in result["language"]["verdict"]
    assert result["language"]["context"] == 32
    assert result["samples"]["model"]["texts"] == 4
    assert len(evaluated.file("samples.jsonl").read_text(encoding="utf-8").split("\n")) == 5
    page = evaluated.file("report.html").read_text()
    assert "5-gram (all tokens)" in page
    assert result["language"]["rule"].split(";")[0] in page
    assert evaluated.measures["bits_per_byte"]["the model"] == rows["the model"]["bits_per_byte"]


def test_evaluating_twice_gives_the_same_artefact(evaluated, made, tmp_path):
    again = verbs.evaluate(QUICK, inputs(made), tmp_path / "again", console=Console.quiet())
    assert again.digest == evaluated.digest
    assert verbs.evaluate(QUICK, inputs(made), evaluated.path, console=Console.quiet()).cached


def test_held_out_sample_is_fixed_whole_and_within_its_budget(made):
    tokens = TokenSet.open(made["tokens"])
    everything = sample_held_out(tokens, made["corpus"], max_bytes=None, seed=0)
    assert everything.whole
    assert everything.bytes.sum() == everything.available_bytes
    tokenizer = tokens.tokenizer()
    for text, ids in zip(everything.texts, everything.tokens, strict=True):
        assert ids[0] == ids[-1] == tokens.boundary_id
        assert tokenizer.decode(ids[1:-1].tolist()) == text
    some = sample_held_out(tokens, made["corpus"], max_bytes=2500, seed=0)
    assert 0 < some.bytes.sum() <= 2500
    assert "passing over" in some.describe()
    assert some.ids == sample_held_out(tokens, made["corpus"], max_bytes=2500, seed=0).ids
    assert len(sample_held_out(tokens, made["corpus"], max_bytes=1, seed=0).ids) == 1


def _within(part, document):
    return any(document[i : i + len(part)] == part for i in range(len(document) - len(part) + 1))


def test_documents_seen_in_rows_of_best_fit_are_the_pieces_of_the_epoch(made):
    tokens = TokenSet.open(made["tokens"])
    rows = BestFitRows(tokens, "train", 32, seed=1)
    seen = list(documents_seen(rows, 10_000, tokens.boundary_id, None))
    assert sum(len(d) - 1 for d in seen) == rows.pairs_per_epoch
    whole = [document[1:-1].tolist() for document in training_documents(tokens, None) if len(document) <= 33]
    assert {tuple(d[1:-1].tolist()) for d in seen} >= {tuple(d) for d in whole}


def test_documents_seen_are_the_first_rows_and_no_more_than_an_epoch(made):
    tokens = TokenSet.open(made["tokens"])
    rows = PackedRows(tokens, "train", 32, seed=0)
    seen = list(documents_seen(rows, 5, tokens.boundary_id, None))
    targets = np.concatenate([document[1:] for document in seen])
    assert sorted(targets.tolist()) == sorted(rows.rows(0, 5)["targets"].reshape(-1).tolist())
    whole = [tuple(d) for d in training_documents(tokens, None)]
    assert all(any(_within(tuple(part), document) for document in whole) for part in seen)
    epochs = list(documents_seen(rows, 10_000, tokens.boundary_id, None))
    assert sorted(map(tuple, epochs)) == sorted(whole)
    assert sum(len(d) - 1 for d in documents_seen(rows, 10_000, tokens.boundary_id, 77)) == 96
    assert len(list(training_documents(tokens, 77))) < len(whole)


def test_tokens_of_another_tokenizer_are_refused_naming_both(made, tmp_path):
    quiet = {"console": Console.quiet()}
    other = verbs.train_tokenizer({"vocabulary": 300}, {"corpus": made["corpus"]}, tmp_path / "tokenizer", **quiet)
    tokens = verbs.tokenize({}, {"corpus": made["corpus"], "tokenizer": other}, tmp_path / "tokens", **quiet)
    with pytest.raises(TokenizerError, match=r"model.*isn't the one that made .*tokens"):
        verbs.evaluate(QUICK, inputs(made, tokens=tokens), tmp_path / "out", **quiet)
    assert not (tmp_path / "out").exists()


def test_another_corpus_is_refused_naming_both(made, tmp_path):
    (tmp_path / "raw").mkdir()
    for number in range(9):
        (tmp_path / "raw" / f"n{number}.py").write_text(source_file(number + 500))
    quiet = {"console": Console.quiet()}
    sources = [{"folder": str(tmp_path / "raw"), "license": "MIT"}]
    other = verbs.curate({"sources": sources, "validation": 0.5}, {}, tmp_path / "corpus", **quiet)
    with pytest.raises(ArtefactError, match=r"tokens: made from another corpus than .*corpus"):
        verbs.evaluate(QUICK, inputs(made, corpus=other), tmp_path / "out", **quiet)


def test_an_empty_validation_split_is_an_error(made, tmp_path):
    shutil.copytree(made["tokens"].path, tmp_path / "tokens")  # curate makes no such thing, but others may
    table = pq.read_table(tmp_path / "tokens" / "documents.parquet")
    pq.write_table(table.filter(pc.equal(table["split"], "train")), tmp_path / "tokens" / "documents.parquet")
    with pytest.raises(InputError, match="validation split has no documents"):
        sample_held_out(TokenSet.open(tmp_path / "tokens"), made["corpus"], max_bytes=None, seed=0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"context": 2049}, "context 2049: the model is made for at most 2048"),
        ({"stride": 33}, "stride 33 with context 32"),
    ],
)
def test_windows_that_cannot_be_are_refused(made, tmp_path, options, says):
    with pytest.raises(RecipeError, match=says):
        verbs.evaluate(QUICK | options, inputs(made), tmp_path / "out", console=Console.quiet())


def test_no_samples_unless_asked_for(made, tmp_path):
    """They are samples of Python; most corpora are something else."""
    artefact = verbs.evaluate({"max_bytes": 2000}, inputs(made), tmp_path / "out", console=Console.quiet())
    assert "samples" not in artefact.measures
    assert not (artefact.path / "samples.jsonl").exists()


def test_perplexity_of_a_text_in_the_short_form(made, tmp_path, cli):
    (tmp_path / "text.txt").write_text(source_file(3), encoding="utf-8")
    shown = cli("--json", "evaluate", made["run"].path, "--text", "text.txt", "--tokens", "40")
    assert shown.returncode == 0, shown.stderr
    result = json.loads(shown.stdout)
    assert result["scored_tokens"] == 39
    model = load_for_evaluation(made["run"].path)
    assert result["perplexity"] == pytest.approx(text_perplexity(model, source_file(3), tokens=40), rel=1e-6)
    for arguments, says in [
        (["--text", "absent.txt"], "absent.txt: can't be read"),
        (["--text", "text.txt", "--replace"], "'--replace' belongs to a recipe"),
        (["--tasks", "piqa", "--replace"], "'--replace' belongs to a recipe"),
        (["--text", "text.txt", "--tasks", "piqa"], "--tasks and --text together"),
        (["--text", "text.txt", "--limit", "3"], "--limit and --data belong to --tasks"),
    ]:
        refused = cli("evaluate", made["run"].path, *arguments)
        assert refused.returncode == 2
        assert says in refused.stderr


def test_a_model_without_its_tokenizer_is_refused(made, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(made["run"].path, copy)
    (copy / "model" / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match="no tokenizer beside the model"):
        verbs.evaluate(QUICK, inputs(made, run=open_artefact(copy)), tmp_path / "out", console=Console.quiet())


def test_tasks_are_inputs_and_their_items_are_kept(made, tmp_path, shared_data):
    options = {"samples": 0, "max_bytes": 2000, "tasks": ["piqa"], "task_limit": 5, "task_data": str(shared_data)}
    artefact = verbs.evaluate(options, inputs(made), tmp_path / "out", console=Console.quiet())
    assert [entry.kind for entry in artefact.manifest.inputs].count("raw") == 1
    items = artefact.file("items.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")
    assert len(items) == 5
    assert artefact.measures["tasks"]["piqa"]["items"] == 5
    with pytest.raises(UserError, match="unknown task 'pica'"):
        verbs.evaluate(options | {"tasks": ["pica"]}, inputs(made), tmp_path / "other", console=Console.quiet())
