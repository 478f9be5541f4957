"""Artefacts that are none, half-written, damaged, forged or from the future, and what may be put in their place."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

TOKENS = "runs/tiny/tokens"
MANIFEST = f"{TOKENS}/bedplate.json"


def edit(bench, **changes):
    path = bench / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def forged_output(bench):
    content = json.loads((bench / MANIFEST).read_text())
    content["outputs"][0]["path"] = "../../../../../../etc/passwd"
    (bench / MANIFEST).write_text(json.dumps(content))


def half_written(bench):
    (bench / MANIFEST).unlink()
    (bench / TOKENS).rename(bench / f"{TOKENS}.partial-0123456789abcdef")


# How an artefact is broken, and what is said when it is shown and when the recipe is run.
BROKEN = {
    "from a newer Bedplate": (
        lambda bench: edit(bench, schema_version=2),
        ["written by a newer Bedplate (schema 2; this one reads up to 1)", "Upgrade Bedplate"],
    ),
    "an empty manifest": (
        lambda bench: (bench / MANIFEST).write_text(""),
        ["bedplate.json: can't be read as JSON", "move it away"],
    ),
    "a manifest that is a list": (lambda bench: (bench / MANIFEST).write_text("[]"), ["no schema_version"]),
    "a manifest with nothing in it": (
        lambda bench: (bench / MANIFEST).write_text('{"schema_version": 1}'),
        ["bedplate.json: kind: Field required"],
    ),
    "outputs outside the folder": (forged_output, ["outputs.0.path: '../../../../../../etc/passwd' isn't inside"]),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_manifest(bench, perform, how):
    """Nobody's word is taken for it, and --replace doesn't remove what may be somebody's model."""
    damage, says = BROKEN[how]
    damage(bench)
    before = (bench / MANIFEST).read_bytes()
    for said in perform(bench, [["show", TOKENS], ["run", "tiny.yaml"], ["tokenize", "tiny.yaml", "--replace"]]):
        said.is_mistake(TOKENS, *says)
    assert (bench / MANIFEST).read_bytes() == before


def test_a_half_written_one(bench, perform, litter):
    half_written(bench)
    shown, ran = perform(bench, [["show", TOKENS], ["tokenize", "tiny.yaml"]])
    shown.is_mistake(f"{TOKENS}: not finished yet; the work so far is in {TOKENS}.partial-0123456789abcdef", "goes on")
    ran.is_done()
    assert litter(bench) == [f"{TOKENS}.partial-0123456789abcdef"]  # made for another request: not ours to remove


DAMAGE = {
    "cut short": (lambda path: os.truncate(path, 1000), "train-00000.npy: 1,000 bytes where the manifest says"),
    "one byte changed": (
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\xee"),
        "train-00000.npy: its bytes have changed since it was made",
    ),
    "missing": (lambda path: path.unlink(), "train-00000.npy: missing"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file(bench, perform, how):
    damage, says = DAMAGE[how]
    damage(bench / TOKENS / "train-00000.npy")
    verified, ran, again, whole, after = perform(
        bench,
        [
            ["show", TOKENS, "--verify"],
            ["run", "tiny.yaml"],
            ["tokenize", "tiny.yaml", "--replace"],
            ["show", TOKENS, "--verify"],
            ["run", "tiny.yaml"],
        ],
    )
    verified.is_mistake(f"{TOKENS}: damaged", says, "make it again with --replace")
    ran.is_mistake(f"{TOKENS}: damaged", says, "make it again with --replace")
    for said in (again, whole, after):
        said.is_done()
    assert "made" not in after.err.split("stage ")[0]  # made again it is what it was, so all that follows is still good


def test_a_stranger_in_the_folder_is_named(bench, perform):
    (bench / TOKENS / "tokenizer" / "evil.py").write_text("import os")
    (said,) = perform(bench, [["show", TOKENS, "--verify"]])
    said.is_done()
    assert f"warning: {TOKENS}: not part of the artefact: tokenizer/evil.py" in said.err


def test_what_is_no_artefact(bench, perform):
    nowhere, folder, file, inside = perform(
        bench, [["show", "nowhere"], ["show", "docs"], ["show", "tiny.yaml"], ["show", f"{TOKENS}/tokenizer"]]
    )
    nowhere.is_mistake("nowhere: no such artefact")
    folder.is_mistake("docs: a folder without bedplate.json", "bedplate import SRC OUT")
    file.is_mistake("tiny.yaml: a file, not an artefact")
    inside.is_mistake("a folder without bedplate.json")


@pytest.mark.slow
def test_replace_keeps_the_old_one_until_the_new_one_is_whole(bench, perform, start):
    process = start(bench, "pretrain", "tiny.yaml", "model.steps=100000", "--replace")
    for line in process.stderr:
        if "parameters" in line:  # it trains
            process.kill()
    process.communicate()
    (shown, ran) = perform(bench, [["show", "runs/tiny/model", "--verify"], ["--json", "run", "tiny.yaml"]])
    shown.is_done()
    assert all(facts["cached"] for facts in json.loads(ran.out).values())


@pytest.fixture
def read_only(tmp_path):
    """A folder that nobody, not even root, may write."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True) if shutil.which("mount") else None
    if done is None or done.returncode:
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere, and no read-only file system can be mounted here")
        folder.chmod(0o500)
    yield folder
    if done is not None and not done.returncode:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_folder_that_may_not_be_written(bench, perform, read_only):
    commands = [
        ["curate", "tiny.yaml", f"corpus.out={read_only}/corpus"],
        ["train-tokenizer", "tiny.yaml", f"tokenizer.out={read_only}/deep/tokenizer"],
        ["export", "runs/tiny/release", f"{read_only}/out"],
    ]
    for said in perform(bench, commands):
        said.is_mistake(str(read_only), "can't be written", "Choose another folder, or change its permissions.")


def test_show_where_the_page_may_not_be_written(bench, perform, read_only):
    """What is shown is true whether or not a page can be put beside it."""
    (bench / "runs/tiny/.pages").symlink_to(read_only)
    (said,) = perform(bench, [["show", TOKENS]])
    said.is_done()
    assert "tokens: a tokens artefact" in said.out
    assert "warning: its page can't be written" in said.err
