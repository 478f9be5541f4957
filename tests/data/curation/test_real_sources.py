"""Real pages, crawls, books and code through the whole stage: what is known of them from elsewhere comes out."""

from __future__ import annotations

import json
import shutil
import sysconfig
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedplate.data.extract.score import agreement

# Counted by hand in the unpacked files, {file: (records that are whole, places that hold none, pages)}.
CRAWL = {
    "bad.arc": (1, 3, 0),
    "example-bad-non-chunked.warc.gz": (6, 0, 1),
    "example-digest.warc": (4, 0, 0),
    "example-iana.org-chunked.warc": (3, 0, 1),
    "example-resource.warc.gz": (3, 0, 1),
    "example-space-in-target-uri.warc.gz": (2, 0, 0),
    "example-space-in-url.arc": (1, 1, 0),
    "example-trunc.warc": (3, 1, 0),
    "example-wget-bad-target-uri.warc.gz": (6, 0, 3),
    "example-wrong-chunks.warc.gz": (2, 0, 1),
    "example.arc": (2, 0, 1),
    "example.arc.gz": (2, 0, 1),
    "example.warc": (6, 0, 1),
    "example.warc.gz": (6, 0, 1),
    "post-test.warc.gz": (6, 0, 0),
    "example-bad.warc.gz.bad": (6, 0, 1),
}


def rows_of(corpus) -> list[dict]:
    return pa.concat_tables([pq.read_table(path) for path in sorted(corpus.path.glob("part-*.parquet"))]).to_pylist()


def left_out(corpus) -> list[dict]:
    return pq.read_table(corpus.file("dropped.parquet")).to_pylist()


def curated(stages, folder: Path, **config):
    """The corpus, made by two workers, which is that of one."""
    corpus, alone = (stages.curate(folder / f"out{workers}", workers=workers, **config) for workers in (2, 1))
    assert corpus.digest == alone.digest
    assert alone.measures["stages"].keys() == corpus.measures["stages"].keys()
    before = corpus.measures["read"]
    for counts in corpus.measures["stages"].values():
        gone = sum(counts["dropped"].values()) + sum(counts["failed"].values())
        assert (before, counts["kept"]) == (counts["read"], counts["read"] - gone)
        before = counts["kept"]
    assert before == len(rows_of(corpus))
    assert corpus.measures["read"] == before + len(left_out(corpus))
    return corpus


# Floors that leave room for other versions of the libraries; see tests/data/extract/test_agreement.py.
@pytest.mark.parametrize(
    ("extractor", "floor"), [("resiliparse", 0.94), pytest.param("trafilatura", 0.955, marks=pytest.mark.slow)]
)
def test_articles_agree_with_people(shared_data, stages, tmp_path, extractor, floor):
    folder = shared_data / "article_extraction"
    truth = json.loads((folder / "ground-truth.json").read_text())
    source = {"html": str(folder / "html"), "license": "unknown", "name": "articles"}
    stages_ = {"extract": {"extractor": extractor}, "rights": {"opt_out": "mark"}, "signals": {}}
    corpus = curated(stages, tmp_path, sources=[source], validation=0.2, **stages_)
    rows = {row["source"].removeprefix("articles/").removesuffix(".html.gz"): row for row in rows_of(corpus)}
    assert rows.keys() == truth.keys()
    assert all(row["title"] for row in rows.values())
    found = agreement((truth[name]["articleBody"], rows[name]["text"]) for name in truth)
    assert found.pages == 91
    assert found.f1 >= floor


def test_every_record_of_real_crawls_is_accounted_for(shared_data, stages, tmp_path):
    folder = shared_data / "warcio_warcs/test/data"
    sources = [
        {"warc": str(folder), "license": "unknown", "name": "crawl"},
        {"warc": str(folder / "example-bad.warc.gz.bad"), "license": "unknown"},
    ]
    corpus = curated(stages, tmp_path, sources=sources, extract={}, rights={}, validation=0.3)
    found: dict[str, list[int]] = {name: [0, 0, 0] for name in CRAWL}
    gaps = ("truncated", "wrong_length", "not_a_record")
    for row in [*rows_of(corpus), *left_out(corpus)]:
        counts = found[row["source"].removeprefix("crawl/").partition("#")[0]]
        counts[0] += row.get("reason") not in gaps
        counts[1] += row.get("reason") in gaps
        counts[2] += row.get("stage") != "read"
    assert {name: tuple(counts) for name, counts in found.items()} == CRAWL
    assert corpus.measures["read"] == sum(whole + broken for whole, broken, _ in CRAWL.values())
    # The same page was fetched again and again: one of it is left, and its copies name it.
    pages = {row["id"]: row for row in rows_of(corpus)}
    copies = [row for row in left_out(corpus) if row["reason"] == "exact_duplicate"]
    assert len(copies) > 5
    assert {row["other"] for row in copies} <= pages.keys()
    assert "example.com" in {row["domain"] for row in pages.values()}
    assert all(row["offset"] is not None and row["date"] for row in pages.values())


@pytest.mark.slow
def test_books_as_pages_and_as_text(shared_data, stages, tmp_path):
    """Two editions of three books: nearly all of the words of one are in the other."""
    folder = shared_data / "gutenberg_books"
    license_ = {"license": "public domain", "language": "en"}
    pages = {"html": str(folder), "name": "pages", **license_}
    texts = {"folder": str(folder), "include": ["*.txt"], "exclude": ["SOURCE.txt"], "name": "texts", **license_}
    extract = {"boilerplate": False, "largest_html": 64 << 20}
    config = {"sources": [pages, texts], "largest_document": 16 << 20, "validation": 0.4, "extract": extract}
    config["clusters"] = None  # the two editions of a book are one
    corpus = curated(stages, tmp_path, **config)
    rows = {row["source"]: row for row in rows_of(corpus)}
    assert corpus.measures["sources"]["pages"]["kept"] == corpus.measures["sources"]["texts"]["kept"] == 3
    for name in ("972", "3261", "16215"):
        page, text = rows[f"pages/{name}-h/{name}-h.htm"], rows[f"texts/{name}.txt"]
        assert page["title"]
        words = [set(row["text"].lower().split()) for row in (page, text)]
        assert len(words[0] & words[1]) / len(words[1]) > 0.8


def test_the_standard_library_and_a_folder_of_everything(shared_data, stages, tmp_path):
    folder = tmp_path / "everything"
    (folder / "pages").mkdir(parents=True)
    for path in sorted((shared_data / "article_extraction/html").glob("*.html.gz"))[:5]:
        shutil.copy(path, folder / "pages" / path.name)
    shutil.copy(shared_data / "warcio_warcs/test/data/example.warc.gz", folder)
    shutil.copy(shared_data / "gutenberg_books/972.txt", folder)
    (folder / "read.md").write_text("---\ntitle: Mixed\nlicense: CC0-1.0\n---\n# A heading\n\nSome words of it.\n")
    cells = [{"cell_type": "markdown", "source": ["# Notes\n"]}, {"cell_type": "code", "source": "x = 1"}]
    (folder / "notes.ipynb").write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}))
    (folder / "rows.jsonl").write_text('{"text": "needs a source of its own"}\n')
    sources = [{"python_stdlib": True}, {"documents": str(folder), "license": "unknown"}]
    config = {"sources": sources, "extract": {}, "rights": {}, "largest_document": 16 << 20}
    corpus = curated(stages, tmp_path, **config)
    rows = {row["source"]: row for row in rows_of(corpus)}
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    label = next(iter(corpus.measures["sources"]))
    assert rows[f"{label}/json/decoder.py"]["text"] == (stdlib / "json/decoder.py").read_text()
    assert rows[f"{label}/json/decoder.py"]["license"] == "PSF-2.0"
    note = rows["everything/read.md"]
    assert (note["title"], note["license"], note["license_evidence"]) == ("Mixed", "CC0-1.0", "declared")
    assert rows["everything/notes.ipynb"]["text"] == "# Notes\n\n```python\nx = 1\n```"
    assert rows["everything/example.warc.gz#3"]["url"] == "http://example.com/"
    assert len([name for name in rows if name.startswith("everything/pages/")]) == 5
    (table,) = [row for row in left_out(corpus) if row["source"] == "everything/rows.jsonl"]
    assert (table["reason"], table["detail"]) == (
        "not_a_document",
        "a table (.jsonl), which needs a source of its own",
    )
