"""Pages of artefacts that the ledger really made."""

import json
import os
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import Field

from bedplate.config import Config
from bedplate.console import Console
from bedplate.errors import ArtefactError, StorageError
from bedplate.ledger import SourceInput, Stage, produce
from bedplate.pipeline import verbs
from bedplate.report.artefact_page import artefact_page, page_path, write_page
from bedplate.report.corpus import _count

HOSTILE = "<script>alert(1)</script>"


class ToyConfig(Config):
    rows: int = Field(60, description="Documents to make.")
    names: list[str] = Field([HOSTILE], description="Names.")
    optimiser: dict[str, float] = Field({"lr": 0.0003}, description="A nested part.")


CORPUS = Stage("curate", 1, "corpus", ToyConfig, {}, f"{__name__}:make_corpus", f"{__name__}:sources")
RUN = Stage("pretrain", 2, "run", ToyConfig, {"tokens": "corpus", "tokenizer": "corpus?"}, f"{__name__}:make_run")
REPORT = Stage("evaluate", 1, "report", ToyConfig, {"model": "run"}, f"{__name__}:make_report")


def sources(config):
    return [SourceInput(Path(os.sep), "ab" * 32, bytes=123_456, count=12)]


def make_corpus(config, inputs, work):
    random.seed(0)
    texts = [f"document {n} {HOSTILE} " * (n + 1) for n in range(config.rows)]
    columns = {
        "id": [str(n) for n in range(config.rows)],
        "text": texts,
        "source": [f"books/{n}.txt" for n in range(config.rows)],
        "license": ["CC0-1.0" if n % 3 else None for n in range(config.rows)],
        "language": [f"language {n}" for n in range(config.rows)],
        "split": ["validation" if n % 10 == 0 else "train" for n in range(config.rows)],
        "bytes": [len(text.encode()) for text in texts],
    }
    pq.write_table(pa.table(columns), work.path / "documents-00000.parquet")
    dropped = {"source": ["books/x.txt"] * 9, "status": ["dropped"] * 9, "reason": ["duplicate"] * 9,
               "detail": [None] * 9, "bytes": [5] * 9}  # fmt: skip
    pq.write_table(pa.table(dropped), work.path / "dropped.parquet")
    work.measures.update(
        read=69, kept=60, dropped={"duplicate": 7, HOSTILE: 1, "empty": 1}, failed={},
        sources={"books": {"read": 69, "kept": 60}}, deep=[{"a": [1, 2]}], odd={"a": {"b": {"c": 1}}, "d": 2},
    )  # fmt: skip


def make_run(config, inputs, work):
    rows = [{"step": n, "loss": 9.0 / n, "bits_per_byte": 4.0 / n} for n in range(1, 30)]
    (work.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    work.add_flops(3e14, "6 N D")
    work.measures["parameters"] = 6_123_456


def make_report(config, inputs, work):
    (work.path / "report.html").write_text("<!DOCTYPE html><title>x</title>")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder, console = tmp_path_factory.mktemp("runs"), Console.quiet()
    corpus = produce(CORPUS, ToyConfig(), {}, folder / "corpus", name=HOSTILE, console=console)
    run = produce(
        RUN, ToyConfig(), {"tokens": corpus, "tokenizer": corpus}, folder / "model", name="model", console=console
    )
    report = produce(REPORT, ToyConfig(), {"model": run}, folder / "a report", name="evaluation", console=console)
    return {"corpus": corpus, "run": run, "report": report}


def test_a_page_lies_beside_the_artefact_and_leaves_it_whole(made, check_page):
    path = write_page(made["run"])
    assert path == page_path(made["run"])
    assert path.parent.name == ".pages"
    check_page(path.read_text(encoding="utf-8"))
    made["run"].verify()
    assert write_page(made["run"]) == path


def test_a_run_shows_its_curves_lineage_cost_and_config(made, check_page):
    html = artefact_page(made["run"])
    text = check_page(html)
    assert html.count("<svg") == 2
    for expected in (
        "6 N D",
        "estimated",
        "measured",
        "optimiser.lr",
        "0.0003",
        "tokens: ",
        "raw source",
        "123.5 kB",
        "6,123,456",
    ):
        assert expected in text, expected
    assert made["run"].digest in text
    # The corpus is reached twice and unfolded once.
    assert text.count("raw source") == 1
    assert "as above" in text


def test_a_corpus_shows_what_is_in_it(made, check_page):
    text = check_page(artefact_page(made["corpus"]))
    for expected in (
        "CC0-1.0",
        "not known",
        "40 others",
        "duplicate",
        "9 documents that were left out",
        "books/0.txt",
        "None.",
    ):
        assert expected in text, expected
    assert text.count("books/x.txt") == 3


def test_a_report_is_linked(made, check_page):
    html = artefact_page(made["report"])
    check_page(html)
    assert 'href="./../a%20report/report.html"' in html


def test_a_broken_table_is_named(made, tmp_path):
    corpus = produce(CORPUS, ToyConfig(), {}, tmp_path / "corpus", name="corpus", console=Console.quiet())
    (corpus.path / "documents-00000.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(ArtefactError, match=r"documents-00000\.parquet"):
        artefact_page(corpus)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_may_not_be_written(made, tmp_path):
    folder = tmp_path / "closed"
    run = produce(RUN, ToyConfig(), {"tokens": made["corpus"]}, folder / "model", name="m", console=Console.quiet())
    folder.chmod(0o500)
    with pytest.raises(StorageError):
        write_page(run)


def test_documents_are_counted_under_the_source_they_are_from(tmp_path, check_page):
    """By its name, whether a document is a line of a file, a line of a file in a folder, or a file."""
    (tmp_path / "x.jsonl").write_text("".join(f'{{"text": "x {n}"}}\n' for n in range(11)))
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "y.jsonl").write_text("".join(f'{{"text": "y {n}"}}\n' for n in range(12)))
    (tmp_path / "z.txt").write_text("z")
    sources = [
        {"jsonl": str(tmp_path / "x.jsonl"), "license": "MIT"},
        {"jsonl": str(tmp_path / "many"), "license": "MIT"},
        {"text": str(tmp_path / "z.txt"), "license": "MIT", "name": "C#1"},
    ]
    corpus = verbs.curate({"sources": sources, "validation": 0.3}, {}, tmp_path / "corpus", console=Console.quiet())
    files = sorted(corpus.path.glob("part-*.parquet"))
    counts = _count(files, "source", corpus.measures["sources"])
    assert {label: count.documents for label, count in counts.items()} == {"x.jsonl": 11, "many": 12, "C#1": 1}
    check_page(artefact_page(corpus))
