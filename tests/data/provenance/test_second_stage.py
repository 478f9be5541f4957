"""A corpus that goes through curation once more, with nothing to do, has the same rows in all columns."""

from __future__ import annotations

import json
import random

import pyarrow.parquet as pq
import pytest

from bedplate.console import Console
from bedplate.data.curate import CURATE, CurateConfig
from bedplate.data.reading.corpus import read_corpus_part
from bedplate.data.reading.files import SourceFile
from bedplate.ledger import produce


def curate(out, inputs=None, **config):
    return produce(CURATE, CurateConfig(**config), inputs or {}, out, name=out.name, console=Console.quiet())


def kept(corpus):
    return [row for path in sorted(corpus.path.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.fixture
def sources(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pictures, pages = tmp_path / "pictures", tmp_path / "pages"
    for folder in (pictures, pages):
        folder.mkdir()
    lines = []
    for number in range(24):
        image.effect_noise((32, 32), 40 + number).save(pictures / f"{number}.png")
        lines.append({"file_name": f"{number}.png", "text": f"one of {number % 5} captions"})
    (pictures / "captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for number in range(12):
        body = " ".join(f"w{random.Random(number).randrange(999) + k}" for k in range(80))
        head = f"<title>Title {number}</title><meta name=author content='Jane Doe'>"
        (pages / f"{number}.html").write_text(f"<html><head>{head}</head><body><p>{body}</p></body></html>")
    rows = [{"text": f"line {n} of some words", "id": str(n), "url": f"https://a.org/{n}"} for n in range(20)]
    shared = " ".join(f"s{n}" for n in range(90))
    rows += [
        {"text": shared + "".join(f" o{1000 * n + k}" for k in range(60)), "id": f"s{n}", "url": f"https://b.org/{n}"}
        for n in range(1, 5)
    ]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [
        {"image_text": str(pictures), "license": "MIT"},
        {"html": str(pages), "license": "MIT"},
        {"jsonl": str(tmp_path / "x.jsonl"), "license": "CC0-1.0", "url_field": "url", "id_field": "id"},
    ]


def test_all_columns_stay(sources, tmp_path):
    first = curate(
        tmp_path / "first", sources=sources, rights={}, privacy={}, signals={},
        deduplicate={"exact": {}, "substring": {}, "images": {}}, mix={"temperature": 2}, validation=0.3, workers=1,
    )  # fmt: skip
    before = kept(first)
    cut = [row for row in before if row["id"] != row["sha256"][:24] and row["picture"] is None]
    assert cut
    assert any(row["image_hash"] for row in before)
    second = curate(tmp_path / "second", {"corpus": [first]}, deduplicate={"exact": {}}, clusters=None, validation=0.3)
    after = kept(second)
    assert len(after) == len(before)
    for old, new in zip(before, after, strict=True):
        assert new == old


def test_a_document_with_a_picture_comes_whole(sources, tmp_path):
    first = curate(tmp_path / "first", sources=sources[:1], validation=0.3, workers=1)
    part = next(first.path.glob("part-*.parquet"))
    row = pq.read_table(part).to_pylist()[0]
    document = next(iter(read_corpus_part(SourceFile(part, "x", part.stat().st_size, 0), None)))
    assert list(document.images) == json.loads(row["images"])
    assert document.metadata["picture"]["sha256"] == document.columns["picture"] == row["picture"]
