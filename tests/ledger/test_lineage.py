"""Lineage: back to the raw sources, also when things have moved, gone or changed."""

from __future__ import annotations

import json
import shutil

import pytest
from toy_stages import JOIN, READ, WRITE, JoinConfig, ReadConfig, WriteConfig

from bedplate.console import Console
from bedplate.ledger import open_artefact, produce
from bedplate.ledger.description import describe, facts
from bedplate.ledger.lineage import MOST_ANCESTORS, lineage, raw_sources
from bedplate.ledger.manifest import MANIFEST


@pytest.fixture
def family(tmp_path):
    """raw.txt -> read; read and write -> both; both -> last."""
    (tmp_path / "raw.txt").write_text("raw\n")
    quiet = Console.quiet()
    read = produce(READ, ReadConfig(path=tmp_path / "raw.txt"), {}, tmp_path / "runs/read", name="read", console=quiet)
    write = produce(WRITE, WriteConfig(text="w"), {}, tmp_path / "runs/write", name="write", console=quiet)
    inputs = {"first": read, "others": [write, read]}
    both = produce(JOIN, JoinConfig(), inputs, tmp_path / "runs/both", name="both", console=quiet)
    return produce(JOIN, JoinConfig(), {"first": both}, tmp_path / "deep/er/last", name="last", console=quiet)


def shape(ancestor):
    return {f"{parent.name} {parent.state}": shape(parent) for parent in ancestor.parents}


RAW = {"raw.txt raw": {}}


def test_goes_back_to_the_raw_sources(family, tmp_path):
    assert shape(lineage(family)) == {"both present": {"read present": RAW, "write present": {}}}
    walked = [ancestor.name for ancestor in lineage(family).walk()]
    assert walked == ["last", "both", "read", "raw.txt", "write", "read", "raw.txt"]
    sources = raw_sources(family)
    assert [(source.path, source.remark) for source in sources] == [(tmp_path / "raw.txt", "1 document, 4 B")]


def test_holds_when_everything_moves_together(family, tmp_path):
    shutil.move(tmp_path, tmp_path.with_name(tmp_path.name + "-moved"))
    moved = open_artefact(tmp_path.with_name(tmp_path.name + "-moved") / "deep/er/last")
    assert shape(lineage(moved))["both present"]["read present"] == RAW


def test_says_what_is_gone_or_changed(family, tmp_path):
    (tmp_path / "raw.txt").unlink()
    produce(
        WRITE, WriteConfig(text="x"), {}, tmp_path / "runs/write", name="write", console=Console.quiet(), replace=True
    )
    assert shape(lineage(family))["both present"]["read present"] == {"raw.txt raw, missing": {}}
    assert "write changed" in shape(lineage(family))["both present"]
    assert "another artefact is there now" in describe(family)
    shutil.rmtree(tmp_path / "runs/both")
    assert shape(lineage(family)) == {"both missing": {}}
    assert "MISSING (no such artefact)" in describe(family)


def test_a_circle_ends(family):
    path = family.path / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["inputs"][0].update(path=".", digest=manifest["digest"])
    path.write_text(json.dumps(manifest))
    around = lineage(open_artefact(family.path))
    assert [a.remark for a in around.walk()] == ["", "its manifests go in a circle here"]


def test_manifests_that_multiply_end(family):
    """Two inputs that are itself, and a ladder whose rungs each name the one below twice: 2 to the 40th ancestors."""
    path = family.path / MANIFEST
    manifest = json.loads(path.read_text())
    itself = manifest["inputs"][0] | {"path": ".", "digest": manifest["digest"]}
    path.write_text(json.dumps(manifest | {"inputs": [itself, itself]}))
    assert len(list(lineage(open_artefact(family.path)).walk())) == 3
    for rung in range(40):
        below = itself | {"path": f"../{rung - 1}" if rung else "../none"}
        folder = family.path.parent / str(rung)
        folder.mkdir()
        (folder / MANIFEST).write_text(json.dumps(manifest | {"inputs": [below, below]}))
    ladder = lineage(open_artefact(family.path.parent / "39"))
    found = list(ladder.walk())
    assert len(found) == MOST_ANCESTORS + 1
    assert any("more than 10,000 ancestors" in a.remark for a in found)
    assert len(describe(open_artefact(family.path.parent / "39"))) < 1 << 20


def test_description_and_facts(family, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = describe(open_artefact("deep/er/last"))
    assert "last: a joined artefact in deep/er/last" in text
    assert f"  first: joined  runs/both  {open_artefact('runs/both').digest[:12]}\n" in text
    assert "raw source  raw.txt" in text
    assert "(measured" in text
    assert "letters                  " in text
    machine = json.loads(json.dumps(facts(family)))
    assert machine["lineage"]["from"][0]["from"][0]["from"][0]["kind"] == "raw"
    assert machine["manifest"]["key"] == family.key
