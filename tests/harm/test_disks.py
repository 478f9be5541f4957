"""Disks that are full, wherever something is written: said plainly, nothing lost, and with room it goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

# What to run, where OUT stands for a folder on the small disk; how many kilobytes that disk has at first.
COMMANDS = {
    "curate": ("curate tiny.yaml corpus.out=OUT", 16),
    "train-tokenizer": ("train-tokenizer tiny.yaml tokenizer.out=OUT", 12),
    "tokenize": ("tokenize tiny.yaml tokens.out=OUT", 32),
    "a checkpoint": ("pretrain tiny.yaml model.out=OUT", 256),
    "the trained model": ("pretrain tiny.yaml model.out=OUT model.keep_checkpoints=1", 560),
    "evaluate": ("evaluate tiny.yaml evaluation.out=OUT", 12),
    "release": ("release tiny.yaml release.out=OUT", 64),
    "import": ("import runs/tiny/release OUT", 64),
    "export": ("export runs/tiny/release OUT", 64),
    "export to gguf": ("export runs/tiny/release OUT --format gguf", 64),
}
RESUMES = ("curate", "tokenize", "a checkpoint", "the trained model")


def mount(folder: Path, kilobytes: int, *, again: bool = False) -> None:
    options = f"{'remount,' if again else ''}size={kilobytes}k"
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True
        )
    except OSError as error:
        pytest.skip(f"no mount command: {error}")
    if done.returncode:
        pytest.skip(f"this user can't mount a small tmpfs: {done.stderr.strip()}")


@pytest.fixture(scope="module")
def told(workshop, perform):
    """What every command said on a full disk, what lay there then, and what it said once there was room."""
    folders = {what: workshop / "disks" / str(number) for number, what in enumerate(COMMANDS)}
    mounted = []
    try:
        for what, folder in folders.items():
            folder.mkdir(parents=True)
            mount(folder, COMMANDS[what][1])
            mounted.append(folder)
        # Without their cached files, evaluate and release have their inputs only from runs/tiny.
        lines = [COMMANDS[what][0].replace("OUT", f"{folder}/out").split() for what, folder in folders.items()]
        full = dict(zip(COMMANDS, perform(workshop, lines), strict=True))
        left = {what: sorted(path.name for path in folder.iterdir()) for what, folder in folders.items()}
        for folder in mounted:
            mount(folder, 4096, again=True)
        verify = [["show", f"{folder}/out", "--verify"] for folder in folders.values()]
        after = perform(workshop, [*lines, *verify])
        room = dict(zip(COMMANDS, zip(after, after[len(lines) :], strict=False), strict=True))
        made = {what: json.loads((folder / "out" / "bedplate.json").read_text()) for what, folder in folders.items()}
        yield full, left, room, made
    finally:
        for folder in mounted:
            subprocess.run(["umount", str(folder)], check=True)
        shutil.rmtree(workshop / "disks")


@pytest.mark.parametrize("what", COMMANDS)
def test_a_full_disk(told, what):
    full, left, room, _ = told
    full[what].is_mistake("disk is full", "Make room on that disk and run the same command again.")
    assert "out" not in left[what]
    partial = [name for name in left[what] if ".partial-" in name]
    if what in RESUMES:
        assert len(partial) == 1
        assert "The work so far is kept in " in full[what].err
    else:
        assert not partial
        assert "Nothing half-made is left behind." in full[what].err
    ran, verified = room[what]
    ran.is_done()
    verified.is_done()


def test_what_is_made_after_all_is_the_same(told, workshop):
    """As if the disk had never been full."""
    made = told[3]
    for what, stage in {"curate": "corpus", "tokenize": "tokens", "a checkpoint": "model"}.items():
        whole = json.loads((workshop / "runs/tiny" / stage / "bedplate.json").read_text())
        assert made[what]["digest"] == whole["digest"]


def test_a_full_disk_keeps_the_artefact_that_was_to_be_replaced(bench, perform):
    folder = bench / "disk"
    folder.mkdir()
    mount(folder, 300)
    try:
        first, over, shown = perform(
            bench,
            [
                ["export", "runs/tiny/release", "disk/out"],
                ["export", "runs/tiny/release", "disk/out", "--format", "gguf", "--replace"],
                ["show", "disk/out", "--verify"],
            ],
        )
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    first.is_done()
    over.is_mistake("the disk is full")
    shown.is_done()
    assert "out: a model artefact" in shown.out
