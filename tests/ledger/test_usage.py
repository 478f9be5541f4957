"""What was made from an artefact, forwards."""

from __future__ import annotations

import json
import shutil

import pytest
from toy_stages import JOIN, WRITE, JoinConfig, WriteConfig

from bedplate.console import Console
from bedplate.errors import ArtefactError
from bedplate.ledger import open_artefact, produce
from bedplate.ledger.usage import earlier_digests, used_by, usual_place

QUIET = Console.quiet()


@pytest.fixture
def runs(tmp_path):
    """one -> two -> three, each with side; one and other -> four; other -> five."""
    root = tmp_path / "runs"

    def write(name):
        return produce(WRITE, WriteConfig(text=name), {}, root / name, name=name, console=QUIET)

    def join(name, *parts):
        inputs = {"first": parts[0], "others": list(parts[1:])}
        return produce(JOIN, JoinConfig(), inputs, root / name, name=name, console=QUIET)

    one, other, side = write("one"), write("other"), write("side")
    join("three", join("two", one, side), side)
    join("four", other, one)
    join("five", other)
    return root


def names(artefact, within, **options):
    return [(user.artefact.name, user.steps) for user in used_by(artefact, within, **options)]


def edit(folder, change):
    manifest = json.loads((folder / "bedplate.json").read_text())
    change(manifest)
    (folder / "bedplate.json").write_text(json.dumps(manifest))


def test_nearest_first(runs):
    assert names(open_artefact(runs / "one"), runs) == [("four", 1), ("two", 1), ("three", 2)]
    assert names(open_artefact(runs / "other"), runs) == [("five", 1), ("four", 1)]
    assert names(open_artefact(runs / "three"), runs) == []


def test_a_copy_elsewhere_counts_as_the_artefact(runs, tmp_path):
    shutil.copytree(runs / "one", tmp_path / "copy")
    assert names(open_artefact(tmp_path / "copy"), runs)[0] == ("four", 1)


def test_what_is_unfinished_damaged_or_foreign_is_passed_over(runs):
    shutil.copytree(runs / "two", runs / "two.partial-123")
    shutil.copytree(runs / "two", runs / "two.replaced-9")
    (runs / "three" / "bedplate.json").write_text("{")
    (runs / "foreign").mkdir()
    (runs / "foreign" / "bedplate.json").write_text('{"schema_version": 99}')
    assert names(open_artefact(runs / "one"), runs) == [("four", 1), ("two", 1)]


def test_no_such_folder(runs):
    with pytest.raises(ArtefactError, match="no such folder to look in"):
        used_by(open_artefact(runs / "one"), runs / "none")


def test_what_was_replaced_in_its_place_counts(runs):
    """two is made of what stood in its place before: three was made of that, and so was of two."""
    old = open_artefact(runs / "two").digest

    def change(manifest):
        manifest["digest"] = "f" * 64
        manifest["inputs"] = [{"role": "corpus", "kind": "toy", "name": "two", "digest": old, "path": "../two"}]
        manifest["measures"]["earlier"] = [old, "e" * 64]

    edit(runs / "two", change)
    two = open_artefact(runs / "two")
    assert earlier_digests(two) == [old, "e" * 64]
    assert names(two, runs) == [("three", 1)]

    def elsewhere(manifest):
        manifest["inputs"][0]["path"] = "../before"

    edit(runs / "two", elsewhere)  # made of another that is still there: its users are the other's
    assert names(open_artefact(runs / "two"), runs) == []
    assert names(open_artefact(runs / "two"), runs, also=[old]) == [("three", 1)]


def test_a_circle_ends(runs):
    one = open_artefact(runs / "one")
    three = open_artefact(runs / "three")

    def change(manifest):
        manifest["inputs"] = [
            {"role": "x", "kind": "joined", "name": "three", "digest": three.digest, "path": "../three"}
        ]

    edit(runs / "one", change)
    assert names(one, runs)[-1] == ("three", 2)


def test_usual_place(runs, tmp_path):
    assert usual_place(open_artefact(runs / "one")) == runs
    nested = tmp_path / "project" / "runs" / "mine" / "one"
    shutil.copytree(runs / "one", nested)
    assert usual_place(open_artefact(nested)) == tmp_path / "project" / "runs"
