"""The index stage and searching: what is made, that it can be trusted later, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow.parquet as pq
import pytest

from bedplate.adapt.retrieval.index import Index
from bedplate.adapt.retrieval.stage import INDEX, IndexConfig, index_documents
from bedplate.adapt.retrieval.table import Table, schema, write_table
from bedplate.console import Console
from bedplate.data.curate import CURATE, CurateConfig
from bedplate.errors import ArtefactError, InputError, RecipeError, StorageError, UserError
from bedplate.families.encoder_model import EncoderModel
from bedplate.ledger import open_artefact, produce

GUIDE = """# Guide

What this is.

## Install

Run the installer. It needs forty megabytes of disk and no network at all, whatever the sales department says.

## Use

- Open a **file** first.
- Then press the green button, which is on the left.

```
tool --green file.txt
```
"""
PAGE = "<title>Animals</title><h1>Animals</h1><p>Owls hunt at night.</p><p>A zebra has stripes.</p>"


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "guide.md").write_bytes(GUIDE.encode())
    (folder / "page.html").write_text(PAGE)
    (folder / "fruit.txt").write_text("Apples are red or green.\r\n\r\nPlums are blue; quinces are yellow.", newline="")
    (folder / "empty.txt").write_text("")
    return folder


@pytest.fixture
def build(encoder, tmp_path):
    def make(documents, out="index", encoder=encoder, replace=False, **config):
        config = IndexConfig.model_validate({"documents": str(documents), "chunk_tokens": 64} | config)
        console = Console.quiet()
        return produce(INDEX, config, {"encoder": encoder}, tmp_path / out, name=out, console=console, replace=replace)

    return make


def chunk_rows(artefact):
    return pq.read_table(artefact.file("chunks.parquet")).to_pylist()


def test_every_chunk_is_an_exact_span_that_the_encoder_reads_whole(docs, build, encoder):
    artefact = build(docs)
    model = EncoderModel.load(encoder.path)
    stored = {row["id"]: row for row in pq.read_table(artefact.file("documents.parquet")).to_pylist()}
    assert [row["path"] for row in stored.values()] == ["docs/fruit.txt", "docs/guide.md", "docs/page.html"]
    assert stored[0]["text"].encode() == (docs / "fruit.txt").read_bytes()
    assert stored[1]["text"].encode() == (docs / "guide.md").read_bytes()
    index = Index.open(artefact)
    rows = chunk_rows(artefact)
    passages = index.search("press the green button", k=100, mode="vector")
    assert sorted(passage.id for passage in passages) == [row["id"] for row in rows] == list(range(len(index)))
    for passage in passages:
        row = rows[passage.id]
        assert index.source_text(passage.source)[passage.start : passage.end] == passage.text
        assert (passage.document, passage.start, passage.end) == (row["document"], row["start"], row["end"])
        assert row["tokens"] <= 64
        assert model.encode_batch([passage.text]).truncated == 0
    assert artefact.measures["read"] == 4
    assert (artefact.measures["kept"], artefact.measures["dropped"]) == (3, {"empty": 1})
    assert artefact.measures["chunks"] == len(rows)
    assert artefact.measures["truncated"] == 0
    button = next(passage for passage in passages if "green button" in passage.text)
    assert button.title == "Guide > Use"
    artefact.verify()


def test_vectors_are_the_encoders_and_search_is_exact(docs, build, encoder):
    index = Index.open(build(docs))
    everything = index.search("owls", k=100, mode="vector")
    texts = [f"{' > '.join(context)}\n{text}" if context else text for context, text in contexts(index, everything)]
    vectors = EncoderModel.load(encoder.path).embed(texts)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ index.embed(["owls"])[0]
    assert np.allclose([passage.score for passage in everything], cosines, atol=1e-5)
    assert list(cosines) == sorted(cosines, reverse=True)


def contexts(index, passages):
    rows = {row["id"]: row for row in pq.read_table(index.chunk_file()).to_pylist()}
    return [(json.loads(rows[passage.id]["context"]), passage.text) for passage in passages]


def test_modes(docs, build):
    index = Index.open(build(docs))
    found = index.search("Which button is green?", k=2, mode="bm25")
    assert "green button" in found[0].text
    assert all(list(passage.scores) == ["bm25"] for passage in found)
    assert index.search("xylophone", mode="bm25") == []
    hybrid = index.search("stripes of a zebra", k=3)
    assert hybrid[0].source == "docs/page.html"
    assert set(hybrid[0].scores) == {"hybrid", "vector", "bm25"}
    assert hybrid[0].score >= hybrid[1].score
    assert [p.id for p in index.search_many(["owls", "stripes of a zebra"], 3)[1]] == [p.id for p in hybrid]


@pytest.mark.parametrize(
    "query", ["", "  ", '"+-*:^~[]{}()', "a" * 50_000, "the of", "日本語", "\0", "green AND NOT (file OR x)"]
)
@pytest.mark.parametrize("mode", ["hybrid", "vector", "bm25"])
def test_any_question_can_be_searched_for(docs, build, query, mode):
    passages = Index.open(build(docs)).search(query, 3, mode)
    assert len(passages) <= 3


def test_bad_searches(docs, build):
    index = Index.open(build(docs))
    with pytest.raises(UserError, match="k=0"):
        index.search("x", k=0)
    with pytest.raises(UserError, match="fuzzy"):
        index.search("x", mode="fuzzy")
    with pytest.raises(UserError, match=r"nowhere\.txt"):
        index.source_text("nowhere.txt")


def test_neighbours(tmp_path, build):
    (tmp_path / "long.txt").write_text("\n\n".join(f"Paragraph {n} of a long text that says little." for n in range(9)))
    index = Index.open(build(tmp_path / "long.txt", chunk_tokens=32))
    first, *_, last = sorted(index.search("text", 100, "vector"), key=lambda passage: passage.id)
    assert index.neighbours(first)[0] is None
    assert index.neighbours(first)[1].start >= first.end
    assert index.neighbours(last)[1] is None
    assert index.neighbours(last)[0].end <= last.start


def test_two_machines_make_the_same_index(docs, build, tmp_path):
    one = build(docs)
    shutil.copytree(docs, tmp_path / "elsewhere" / "docs")
    os.utime(tmp_path / "elsewhere" / "docs" / "guide.md", (1, 1))
    other = build(tmp_path / "elsewhere" / "docs", out="other")
    assert one.digest == other.digest
    assert one.key != other.key


def test_a_changed_document_is_noticed(docs, build):
    first = build(docs)
    assert build(docs).cached
    (docs / "fruit.txt").write_text("Nothing but plums.")
    with pytest.raises(ArtefactError, match="index"):
        build(docs)
    assert build(docs, replace=True).digest != first.digest


def test_another_encoder_is_refused(docs, build, encoder, make_encoder, tmp_path):
    artefact = build(docs)
    other = make_encoder(1)
    with pytest.raises(ArtefactError, match="an index built by another encoder") as caught:
        Index.open(artefact, other.path)
    assert "encoder" in caught.value.problem
    assert str(other.path) in caught.value.problem
    shutil.copytree(encoder.path, tmp_path / "moved")
    assert Index.open(artefact.path, tmp_path / "moved").search("owls")


def test_an_encoder_that_pools_otherwise_is_refused(docs, build, encoder, tmp_path):
    shutil.copytree(encoder.path, tmp_path / "cls")
    pooling = next((tmp_path / "cls").rglob("1_Pooling/config.json"))
    settings = json.loads(pooling.read_text())
    settings |= {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}
    pooling.write_text(json.dumps(settings))
    index = Index.open(build(docs), tmp_path / "cls")
    with pytest.raises(ArtefactError, match="another encoder"):
        index.search("owls")


def test_an_encoder_that_is_gone(docs, build, encoder, tmp_path):
    shutil.copytree(encoder.path, tmp_path / "gone")
    artefact = build(docs, encoder=open_artefact(tmp_path / "gone"))
    shutil.rmtree(tmp_path / "gone")
    with pytest.raises(ArtefactError, match="encoder"):
        Index.open(artefact)


@pytest.mark.parametrize("damage", ["lance", "index.json", "words.parquet"])
def test_a_damaged_index_says_so(docs, build, damage):
    artefact = build(docs)
    path = artefact.path / damage
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ArtefactError, match=str(artefact.path)):
        Index.open(artefact.path).vocabulary  # noqa: B018


def test_a_corpus_and_a_task_are_indexed_too(docs, encoder, tmp_path):
    def make(out, inputs, **config):
        config = IndexConfig.model_validate({"chunk_tokens": 64} | config)
        return produce(INDEX, config, {"encoder": encoder} | inputs, tmp_path / out, name=out, console=Console.quiet())

    curated = CurateConfig.model_validate({"sources": [{"folder": str(docs), "license": "unknown"}], "validation": 0.5})
    corpus = produce(CURATE, curated, {}, tmp_path / "corpus", name="corpus", console=Console.quiet())
    index = Index.open(make("of-corpus", {"corpus": corpus}))
    assert index.search("green button", mode="bm25")[0].title == "Guide > Use"
    with pytest.raises(RecipeError, match="documents and corpus"):
        make("both", {"corpus": corpus}, documents=str(docs))
    with pytest.raises(RecipeError, match="given: none"):
        make("neither", {})
    assert not list(tmp_path.glob("both*")) + list(tmp_path.glob("neither*"))


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\xfa broken"])
def test_bad_documents_leave_nothing_behind(tmp_path, build, content):
    folder = tmp_path / "bad"
    folder.mkdir()
    if content is not None:
        (folder / "a.txt").write_bytes(content)
        (folder / "b.txt").write_bytes(b"bad \xff" if content else b" ")
    with pytest.raises(InputError, match="bad"):
        build(folder)
    assert not list(tmp_path.glob("index*"))


def test_places_with_odd_names(docs, encoder, tmp_path):
    place = tmp_path / "a b#c?d%20e é'\"*"
    place.mkdir()
    (docs / "odd \x1b[1m%41#.txt").write_text("An odd name.")
    artefact = index_documents(docs, encoder.path, place / "index", console=Console.quiet())
    assert Index.open(artefact).search("odd name", mode="bm25")[0].text == "An odd name."
    with pytest.raises(UserError, match="Choose a path"):
        index_documents(docs, encoder.path, tmp_path / "two\nlines", console=Console.quiet())


def test_a_kill_resumes_without_embedding_again(docs, build, encoder, tmp_path):
    """kill -9 while the table is being written: the vectors are kept, and the end is that of an undisturbed run."""
    undisturbed = build(docs, out="undisturbed")
    script = (
        "import sys, time\n"
        "from bedplate.adapt.retrieval import building\n"
        "from bedplate.adapt.retrieval.stage import INDEX, IndexConfig\n"
        "from bedplate.console import Console\n"
        "from bedplate.ledger import open_artefact, produce\n"
        "building.write_table = lambda *a, **k: time.sleep(60)\n"
        "c = IndexConfig(documents=sys.argv[1], chunk_tokens=64)\n"
        "produce(INDEX, c, {'encoder': open_artefact(sys.argv[2])}, sys.argv[3], name='x', console=Console.quiet())\n"
    )
    out = tmp_path / "index"
    process = subprocess.Popen([sys.executable, "-c", script, docs, encoder.path, out])
    deadline = time.monotonic() + 60
    while not (done := list(tmp_path.glob("index.partial-*/vectors-*.npy"))) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert done
    assert not out.exists()
    vectors = np.load(done[0])
    np.save(done[0], vectors[::-1])  # other vectors in their place would show in the table
    artefact = build(docs)
    assert artefact.digest == undisturbed.digest
    rows = Table(artefact.path / "lance").some([0])
    assert np.allclose(rows[0].vector, vectors[-1])
    assert not list(artefact.path.glob("vectors-*"))


def test_large_tables_are_searched_by_partitions(tmp_path):
    """The index of partitions finds nearly what looking at every vector does, and the same distances."""
    import pyarrow as pa

    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, 16))
    vectors = (centres[rng.integers(20, size=3000)] + 0.3 * rng.normal(size=(3000, 16))).astype(np.float32)
    columns = {name: pa.array(range(3000), pa.int64()) for name in ("id", "document", "start", "end", "body")}
    columns |= {"headings": pa.array(["[]"] * 3000), "skip": pa.array([0] * 3000, pa.int64())}
    columns |= {"text": pa.array([f"row {n}" for n in range(3000)])}
    columns |= {"vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 16)}
    batches = pa.table(columns, schema=schema(16)).to_batches()
    write_table(tmp_path / "t", iter(batches), 16, "English", exact_below=1000)
    exact, partitions = Table(tmp_path / "t"), Table(tmp_path / "t", exact_below=1000)
    shared = 0
    for vector in vectors[:20]:
        shared += len({r.id for r in exact.nearest(vector, 10)} & {r.id for r in partitions.nearest(vector, 10)})
    assert shared >= 190


def test_a_missing_library_names_the_extra(docs, build, monkeypatch):
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(UserError, match=r"bedplate\[retrieval\]"):
        build(docs)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "selectolax.lexbor", None)
    with pytest.raises(UserError, match=r"bedplate\[retrieval\]"):
        build(docs)


def test_declaring_the_stage_imports_nothing_heavy():
    script = (
        "import sys, bedplate.adapt.retrieval.stage\n"
        "print([m for m in ('torch', 'lancedb', 'pyarrow', 'tokenizers', 'selectolax') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"


def test_searching_changes_nothing_and_many_may_do_it_at_once(docs, build):
    artefact = build(docs)
    index = Index.open(artefact)
    queries = ["green button", "owls at night", "blue plums", "forty megabytes"] * 4
    alone = [[passage.id for passage in index.search(query, 3)] for query in queries]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda query: [passage.id for passage in index.search(query, 3)], queries))
    assert together == alone
    artefact.verify()
    assert artefact.strangers() == []


@pytest.mark.parametrize("kilobytes", [12, 44])
def test_a_full_disk(docs, build, tmp_path, kilobytes):
    """Full while texts are written, and while the table is: said plainly, and it goes on when there is room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o"]
    if shutil.which("mount") is None or subprocess.run([*mount, f"size={kilobytes}k", "tmpfs", disk]).returncode:
        pytest.skip("this user can't mount a small tmpfs")
    try:
        with pytest.raises(StorageError, match="the disk is full"):
            build(docs, out="disk/index")
        assert not (disk / "index").exists()
        subprocess.run([*mount, "remount,size=8m", "tmpfs", disk], check=True)
        assert build(docs, out="disk/index").digest == build(docs).digest
    finally:
        subprocess.run(["umount", "-l", disk], check=False)
