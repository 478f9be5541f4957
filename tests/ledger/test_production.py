"""`produce`: made once, found again, never mixed up, never half-written."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
from toy_stages import (
    FAIL,
    JOIN,
    READ,
    WRITE,
    WRITE_2,
    FailConfig,
    JoinConfig,
    ReadConfig,
    WriteConfig,
)

from bedplate.console import Console
from bedplate.errors import ArtefactError, InternalError, StorageError
from bedplate.ledger import open_artefact, produce
from bedplate.ledger.commit import REMOVED
from bedplate.ledger.manifest import MANIFEST
from bedplate.ledger.place import check_settings


def make(stage, config, out, inputs=None, **options):
    return produce(stage, config, inputs or {}, out, name=Path(out).name or "made", console=Console.quiet(), **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@pytest.fixture
def written(tmp_path):
    return make(WRITE, WriteConfig(text="hello"), tmp_path / "out")


def test_the_manifest_tells_everything(written):
    m = json.loads((written.path / MANIFEST).read_text())
    assert (m["schema_version"], m["kind"], m["name"], m["stage"], m["stage_version"]) == (1, "toy", "out", "write", 1)
    assert m["config"] == {"text": "hello", "copies": 1, "workers": 1}
    assert m["semantic"] == {"text": "hello", "copies": 1}
    assert m["measures"] == {"letters": 5}
    assert [(o["path"], o["volatile"]) for o in m["outputs"]] == [("more/date.txt", True), ("text.txt", False)]
    assert m["resources"]["flops"] == {"value": 1000.0, "method": "estimated", "note": "one a letter"}
    assert m["resources"]["wall_s"]["method"] == "measured"
    assert m["resources"]["peak_rss_bytes"]["value"] > 1e6
    assert m["environment"]["python"]
    assert m["environment"]["torch"]
    assert names(written.path) == [MANIFEST, "more", "text.txt"]
    assert names(written.path.parent) == ["out"]


def test_the_same_request_is_found_also_with_another_way_of_working(written, tmp_path):
    again = make(WRITE, WriteConfig(text="hello", workers=7), tmp_path / "out")
    assert again.cached
    assert not written.cached
    assert again.manifest == written.manifest


def test_equal_requests_elsewhere_have_equal_keys_and_digests(written, tmp_path):
    other = make(WRITE, WriteConfig(text="hello"), tmp_path / "other")
    assert (other.key, other.digest) == (written.key, written.digest)
    assert other.manifest.outputs != written.manifest.outputs  # the volatile one differs


def test_another_request_is_refused_and_says_in_what_it_differs(written, tmp_path):
    with pytest.raises(ArtefactError) as caught:
        make(WRITE, WriteConfig(text="bye"), tmp_path / "out")
    assert "text: 'hello' there, 'bye' asked for" in caught.value.problem
    assert "--replace" in caught.value.fix
    with pytest.raises(ArtefactError, match="made by version 1 of write; now it is version 2"):
        make(WRITE_2, WriteConfig(text="hello"), tmp_path / "out")
    with pytest.raises(ArtefactError, match="made by write, and join is asked for"):
        make(JOIN, JoinConfig(), tmp_path / "out", {"first": make(WRITE, WriteConfig(text="x"), tmp_path / "other")})


def test_an_artefact_never_takes_the_place_of_what_it_is_made_from(written, tmp_path):
    for out in (written.path, tmp_path):
        with pytest.raises(ArtefactError, match=r"would take the place of .*/out, which it is made from"):
            make(JOIN, JoinConfig(), out, {"first": written}, replace=True)
    source = written.path / "text.txt"
    with pytest.raises(ArtefactError, match=r"would take the place of .*/out/text\.txt"):
        make(READ, ReadConfig(path=source), written.path, replace=True)
    written.verify()


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("out/inside", "inside the artefact .*/out, which is complete"),
        ("out/more/inside", "inside the artefact .*/out, which is complete"),
        ("out/..", "an artefact's folder needs a name of its own"),
        ("/", "an artefact's folder needs a name of its own"),
        (".", "an artefact's folder needs a name of its own"),
    ],
)
def test_places_where_no_artefact_goes(written, tmp_path, place, expected):
    with pytest.raises(ArtefactError, match=expected):
        make(WRITE, WriteConfig(text="x"), place if place in ("/", ".") else tmp_path / place, replace=True)
    written.verify()


def test_changed_inputs_are_named(tmp_path):
    one = make(WRITE, WriteConfig(text="one"), tmp_path / "one")
    two = make(WRITE, WriteConfig(text="two"), tmp_path / "two")
    make(JOIN, JoinConfig(), tmp_path / "out", {"first": one, "others": [two, one]})
    with pytest.raises(ArtefactError) as caught:
        make(JOIN, JoinConfig(), tmp_path / "out", {"first": two, "others": [two]})
    assert f"input first (two): {one.digest[:12]} there, {two.digest[:12]} now" in caught.value.problem
    assert "input others: 2 there, 1 asked for" in caught.value.problem


def test_replace_swaps_and_keeps_nothing_behind(written, tmp_path):
    new = make(WRITE, WriteConfig(text="bye"), tmp_path / "out", replace=True)
    assert new.file("text.txt").read_text() == "bye"
    assert names(tmp_path) == ["out"]
    assert make(WRITE, WriteConfig(text="bye"), tmp_path / "out", replace=True).cached


def test_a_failed_replace_keeps_the_old(written, tmp_path):
    with pytest.raises(ValueError, match="a bug of ours"):
        make(FAIL, FailConfig(how="bug"), tmp_path / "out", replace=True)
    assert open_artefact(tmp_path / "out").digest == written.digest


def test_a_folder_of_the_users_is_never_touched(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("mine")
    with pytest.raises(ArtefactError, match="exists and isn't an artefact"):
        make(WRITE, WriteConfig(text="hello"), tmp_path / "out", replace=True)
    assert names(tmp_path / "out") == ["precious.txt"]


def test_an_empty_folder_is_no_obstacle(tmp_path):
    (tmp_path / "out").mkdir()
    assert make(WRITE, WriteConfig(text="hello"), tmp_path / "out").kind == "toy"


def test_a_copied_artefact_is_as_good(written, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(tmp_path / "out", tmp_path / "elsewhere" / "out", copy_function=shutil.copy)
    for path in (tmp_path / "elsewhere" / "out").rglob("*"):
        os.utime(path, ns=(0, written.manifest.newest_mtime_ns + 10**12))
    assert make(WRITE, WriteConfig(text="hello"), tmp_path / "elsewhere" / "out").cached


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda path: path.unlink(), "text.txt: missing"),
        (lambda path: path.write_text("hell"), "text.txt: 4 bytes where the manifest says 5"),
        (lambda path: path.write_text("hullo"), "text.txt: its bytes have changed since it was made"),
    ],
)
def test_damage_is_named_and_replace_mends_it(written, tmp_path, damage, expected):
    damage(written.path / "text.txt")
    for find in (lambda: make(WRITE, WriteConfig(text="hello"), tmp_path / "out"), written.verify):
        with pytest.raises(ArtefactError) as caught:
            find()
        assert expected in caught.value.problem
    mended = make(WRITE, WriteConfig(text="hello"), tmp_path / "out", replace=True)
    assert not mended.cached
    mended.verify()


def test_verify_finds_what_keeps_size_and_time(written):
    path = written.path / "text.txt"
    times = path.stat()
    path.write_text("hullo")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    written.check()
    with pytest.raises(ArtefactError, match=r"text\.txt: its bytes have changed"):
        written.verify()


def test_sources_decide_and_are_recorded(tmp_path):
    raw = tmp_path / "raw.txt"
    raw.write_text("a\nb\n")
    made = make(READ, ReadConfig(path=raw), tmp_path / "out")
    source = made.manifest.inputs[0]
    assert (source.kind, source.name, source.path, source.bytes, source.count) == ("raw", "raw.txt", "../raw.txt", 4, 2)
    raw.touch()
    assert make(READ, ReadConfig(path=raw), tmp_path / "out").cached
    raw.write_text("changed")
    with pytest.raises(ArtefactError, match=r"input source \(raw\.txt\)"):
        make(READ, ReadConfig(path=raw), tmp_path / "out")


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (lambda a: {}, "the input 'first' is missing"),
        (lambda a: {"first": a, "frist": a}, "unknown input 'frist'"),
        (lambda a: {"first": [a]}, "takes one artefact, not a list"),
        (lambda a: {"first": a, "others": [a, "joined"]}, "others"),
    ],
)
def test_inputs_are_checked_before_anything_is_written(written, tmp_path, inputs, expected):
    joined = make(JOIN, JoinConfig(), tmp_path / "joined", {"first": written})
    given = inputs(written)
    if "others" in given:
        given["others"] = [written, joined]
    with pytest.raises(ArtefactError, match=expected):
        make(JOIN, JoinConfig(), tmp_path / "next", given)
    assert names(tmp_path) == ["joined", "out"]


@pytest.mark.parametrize(
    ("how", "error", "expected"),
    [
        ("nothing", InternalError, "finished without writing anything"),
        ("link", InternalError, "link isn't a plain file"),
        ("measure", InternalError, "measures.bad is a object"),
        ("rust", StorageError, "the disk is full"),
    ],
)
def test_broken_stages_leave_no_artefact(tmp_path, how, error, expected):
    with pytest.raises(error, match=expected):
        make(FAIL, FailConfig(how=how), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_odd_measures_stay_readable(tmp_path):
    measures = make(FAIL, FailConfig(how="odd figures"), tmp_path / "out").measures
    assert measures == {"loss": "nan", "peak": "inf", "where": "a/b", "pair": [1, 2]}


def test_opening_what_is_none(written, tmp_path):
    with pytest.raises(ArtefactError, match="no such artefact"):
        open_artefact(tmp_path / "none")
    with pytest.raises(ArtefactError, match="a folder without"):
        open_artefact(tmp_path)
    with pytest.raises(ArtefactError, match=r"a toy artefact .made by write., where model or release is needed"):
        open_artefact(written.path, "model|release")
    with pytest.raises(ValueError, match="a bug of ours"):
        make(FAIL, FailConfig(how="bug"), tmp_path / "half")
    with pytest.raises(ArtefactError, match=r"not finished yet; the work so far is in .*half\.partial-"):
        open_artefact(tmp_path / "half")
    assert open_artefact(written.path / MANIFEST, "model|toy").key == written.key


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda m: m.update(schema_version=2), "written by a newer Bedplate .schema 2; this one reads up to 1"),
        (lambda m: m.pop("schema_version"), "no schema_version"),
        (lambda m: m.pop("digest"), "digest: Field required"),
    ],
)
def test_manifests_that_cannot_be_read(written, tmp_path, change, expected):
    path = written.path / MANIFEST
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    for find in (lambda: open_artefact(written.path), lambda: make(WRITE, WriteConfig(text="hello"), tmp_path / "out")):
        with pytest.raises(ArtefactError, match=expected):
            find()
    path.write_text("{")
    with pytest.raises(ArtefactError, match="can't be read as JSON"):
        open_artefact(written.path)


def test_fields_added_later_under_this_schema_are_tolerated(written):
    path = written.path / MANIFEST
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "later": 1}))
    assert open_artefact(written.path).manifest == written.manifest


def test_a_finished_folder_that_was_not_renamed_is_taken(written, tmp_path):
    """The kill between the manifest and the rename."""
    (tmp_path / "out").rename(tmp_path / f"out.partial-{written.key[:16]}")
    found = make(WRITE, WriteConfig(text="hello"), tmp_path / "out")
    assert found.manifest == written.manifest
    assert names(tmp_path) == ["out"]


def test_what_a_kill_in_a_swap_left_is_not_mistaken_for_work(written, tmp_path):
    """The kill after the exchange of names: the old artefact lies where the new one's work was."""
    new = make(WRITE, WriteConfig(text="bye"), tmp_path / "new")
    (tmp_path / "out").rename(tmp_path / f"out.partial-{new.key[:16]}")
    (tmp_path / "new").rename(tmp_path / "out")
    assert make(WRITE, WriteConfig(text="bye"), tmp_path / "out").cached
    assert names(tmp_path) == ["out"]


def test_only_what_our_own_swap_left_is_removed(tmp_path):
    """The name alone says nothing: people call their own folders so."""
    out = tmp_path / "o[3]"
    make(WRITE, WriteConfig(text="hello"), out)
    shutil.copytree(out, tmp_path / "o[3].replaced-4711")
    shutil.copytree(out, tmp_path / "o[3].replaced-4712")
    (tmp_path / "o[3].replaced-4712" / MANIFEST).rename(tmp_path / "o[3].replaced-4712" / REMOVED)
    shutil.copytree(out, tmp_path / "o[3].replaced-mybackup")
    shutil.copytree(out, tmp_path / "o3.replaced-4711")
    (tmp_path / "o[3].replaced-12").mkdir()
    (tmp_path / "o[3].replaced-12" / "diary.txt").write_text("mine")
    (tmp_path / "o[3].replaced-13").write_text("mine")
    (tmp_path / "o[3].replaced-14").symlink_to("o3.replaced-4711")
    assert make(WRITE, WriteConfig(text="hello"), out).cached
    kept = ["o3.replaced-4711", "o[3]", *(f"o[3].replaced-{end}" for end in ("12", "13", "14", "mybackup"))]
    assert names(tmp_path) == kept
    assert (tmp_path / "o[3].replaced-12" / "diary.txt").read_text() == "mine"


def test_what_was_being_removed_isn_t_gone_on_with(written, tmp_path):
    partial = tmp_path / f"new.partial-{written.key[:16]}"
    shutil.copytree(written.path, partial)
    (partial / MANIFEST).rename(partial / REMOVED)
    (partial / "stale.txt").write_text("of the old one")
    made = make(WRITE, WriteConfig(text="hello"), tmp_path / "new")
    assert not (made.path / "stale.txt").exists()


def test_a_stage_that_can_t_resume_leaves_nothing_half_made(tmp_path):
    stage = dataclasses.replace(FAIL, resumes=False)
    for how, error in (("bug", ValueError), ("rust", StorageError), ("link", InternalError)):
        with pytest.raises(error) as caught:
            make(stage, FailConfig(how=how), tmp_path / "out")
        assert names(tmp_path) == []
        if error is StorageError:
            assert caught.value.fix.startswith("Nothing half-made is left behind.")


def test_what_a_kill_left_of_a_stage_that_can_t_resume_isn_t_gone_on_with(tmp_path):
    made = make(WRITE, WriteConfig(text="hello"), tmp_path / "out")
    left = tmp_path / f"out.partial-{made.key[:16]}"
    made.path.rename(left)
    (left / MANIFEST).unlink()
    (left / "stale.txt").write_text("from before")
    again = make(dataclasses.replace(WRITE, resumes=False), WriteConfig(text="hello"), tmp_path / "out")
    assert names(again.path) == [MANIFEST, "more", "text.txt"]


def test_other_settings_are_told_before_anything_runs(written, tmp_path):
    check_settings(WRITE, WriteConfig(text="hello", workers=5), written.path)
    check_settings(WRITE, WriteConfig(text="bye"), tmp_path / "free")
    with pytest.raises(ArtefactError, match="text: 'hello' there, 'bye' asked for"):
        check_settings(WRITE, WriteConfig(text="bye"), written.path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(ArtefactError, match="isn't an artefact of Bedplate's, so it won't be touched"):
        check_settings(WRITE, WriteConfig(text="bye"), tmp_path / "mine")
