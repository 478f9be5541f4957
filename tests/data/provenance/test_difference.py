"""What differs between two corpora where texts alone don't tell documents apart."""

from __future__ import annotations

import json

import pytest

from bedplate.console import Console
from bedplate.data.curate import CURATE, CurateConfig
from bedplate.data.provenance.difference import difference
from bedplate.ledger import produce


def curate(out, inputs=None, **config):
    return produce(CURATE, CurateConfig(**config), inputs or {}, out, name=out.name, console=Console.quiet())


def test_one_caption_of_several_pictures(tmp_path):
    image = pytest.importorskip("PIL.Image")

    def corpus(name, pictures):
        folder = tmp_path / "p"
        folder.mkdir(exist_ok=True)
        for number, shade in pictures.items():
            image.new("L", (8, 8), shade).save(folder / f"{number}.png")
        lines = [{"file_name": f"{number}.png", "text": f"caption {number % 2}"} for number in pictures]
        (folder / "captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return curate(tmp_path / name, sources=[{"image_text": str(folder), "license": "MIT"}], validation=0.4)

    a = corpus("a", {n: n for n in range(16)})
    b = corpus("b", {n: n if n != 3 else 200 for n in range(15)})
    facts = difference(a, b).facts()
    assert facts["same"]["documents"] == 14
    assert facts["changed"]["p"]["documents"] == 1
    assert facts["removed"]["p"]["documents"] == 1
    assert facts["removed_because"] == {"p": {"not read": 1}}
    assert facts["added"] == {}


def test_what_was_cut_has_changed(tmp_path):
    shared = " ".join(f"s{n}" for n in range(90))
    own = [" ".join(f"o{1000 * n + k}" for k in range(60)) for n in range(4)]
    texts = [f"{shared} {own[n]}" for n in range(4)] + [f"another {n} of its own" for n in range(12)]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    config = {"sources": [{"jsonl": str(tmp_path / "x.jsonl"), "license": "MIT"}], "clusters": None, "validation": 0.4}
    a = curate(tmp_path / "a", **config, deduplicate={"exact": {}})
    b = curate(tmp_path / "b", **config, deduplicate={"exact": {}, "substring": {}})
    facts = difference(a, b).facts()
    assert facts["same"]["documents"] == 13
    assert facts["changed"]["x.jsonl"]["documents"] == facts["changed_from"]["x.jsonl"]["documents"] == 3
    assert facts["changed"]["x.jsonl"]["bytes"] < facts["changed_from"]["x.jsonl"]["bytes"]
    assert facts["added"] == facts["removed"] == {}
    assert difference(b, b).facts()["same"]["documents"] == 16


def test_texts_that_are_there_twice(tmp_path):
    lines = [{"text": f"text {n % 5} of a gear", "url": f"https://a.org/{n}"} for n in range(20)]

    def corpus(name, lines):
        (tmp_path / "x.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        source = {"jsonl": str(tmp_path / "x.jsonl"), "license": "MIT", "url_field": "url"}
        return curate(tmp_path / name, sources=[source], deduplicate={}, clusters=None, validation=0.5)

    facts = difference(corpus("a", lines), corpus("b", lines[:18])).facts()
    assert facts["same"]["documents"] == 18
    assert facts["removed"]["x.jsonl"]["documents"] == 2
    assert facts["changed"] == facts["added"] == {}
