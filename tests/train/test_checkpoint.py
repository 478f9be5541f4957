"""Checkpoints on disk: whole or passed over, kept in number, atomic, and honest about what went wrong."""

from __future__ import annotations

import os
import shutil
import threading

import pytest
import torch

from bedplate.errors import ArtefactError, StorageError
from bedplate.train.checkpoint import Checkpoints


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def checkpoints(tmp_path, warnings):
    return Checkpoints(tmp_path / "checkpoints", keep=2, warn=warnings.append)


def save(checkpoints, step, value=None):
    model = {"a.weight": torch.full((3, 4), float(step if value is None else value))}
    checkpoints.save(step, model, {"a.weight/step": torch.tensor(float(step))}, {"losses": [0.1, step / 3]})
    checkpoints.wait()


def names(checkpoints):
    return sorted(path.name for path in checkpoints.folder.iterdir())


def test_what_is_saved_comes_back_to_the_bit(checkpoints, warnings):
    assert checkpoints.newest() is None
    save(checkpoints, 7)
    saved = checkpoints.newest()
    assert saved.step == 7
    assert saved.rest == {"losses": [0.1, 7 / 3]}
    assert torch.equal(saved.model()["a.weight"], torch.full((3, 4), 7.0))
    assert torch.equal(saved.optimiser()["a.weight/step"], torch.tensor(7.0))
    assert warnings == []


def test_the_newest_are_kept_by_number_and_not_by_name(checkpoints):
    for step in (8, 9, 10, 100):
        save(checkpoints, step)
    assert names(checkpoints) == ["step-10", "step-100"]
    assert checkpoints.newest().step == 100


def truncate(folder):
    os.truncate(folder / "model.safetensors", 20)


def flip(folder):
    raw = bytearray((folder / "optimiser.safetensors").read_bytes())
    raw[-2] ^= 1
    (folder / "optimiser.safetensors").write_bytes(raw)


def remove(folder):
    (folder / "model.safetensors").unlink()


def alter(folder):
    text = (folder / "state.json").read_text()
    (folder / "state.json").write_text(text.replace("0.1", "0.2"))


def rename(folder):
    shutil.copytree(folder, folder.with_name("step-30"))
    shutil.rmtree(folder)


def empty(folder):
    (folder / "state.json").write_text("[]")


@pytest.mark.parametrize("harm", [truncate, flip, remove, alter, empty])
def test_a_damaged_one_is_named_and_the_one_before_is_used(checkpoints, warnings, harm):
    save(checkpoints, 10)
    save(checkpoints, 20)
    harm(checkpoints.folder / "step-20")
    assert checkpoints.newest().step == 10
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{checkpoints.folder}/step-20: ")
    assert warnings[0].endswith("going back to the one before")


def test_one_under_a_wrong_name_is_not_believed(checkpoints, warnings):
    save(checkpoints, 20)
    rename(checkpoints.folder / "step-20")
    assert checkpoints.newest() is None
    assert "step-30: state.json isn't what was written" in warnings[0]


def test_a_damaged_newer_one_never_pushes_out_a_whole_one(tmp_path, warnings):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=1, warn=warnings.append)
    save(checkpoints, 40)
    truncate(checkpoints.folder / "step-40")
    assert checkpoints.newest() is None
    save(checkpoints, 30)  # as a run that began anew would on its way
    assert names(checkpoints) == ["step-30"]
    assert checkpoints.newest().step == 30


def test_a_damaged_one_of_the_same_step_is_replaced(checkpoints):
    save(checkpoints, 40, value=1)
    truncate(checkpoints.folder / "step-40")
    save(checkpoints, 40, value=2)
    assert float(checkpoints.newest().model()["a.weight"][0, 0]) == 2


def test_what_kills_left_is_neither_read_nor_kept(checkpoints):
    save(checkpoints, 10)
    for left in (".step-20.partial", ".step-5.old"):
        shutil.copytree(checkpoints.folder / "step-10", checkpoints.folder / left)
    assert checkpoints.newest().step == 10
    checkpoints.clean()
    assert names(checkpoints) == ["step-10"]


def test_another_version_of_the_format_is_refused(checkpoints):
    save(checkpoints, 10)
    state = checkpoints.folder / "step-10" / "state.json"
    state.write_text(state.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(ArtefactError, match="step-10: written by another version"):
        checkpoints.newest()


def test_a_rank_that_does_not_see_it_says_so(checkpoints):
    with pytest.raises(ArtefactError, match=r"step-10: not whole .*, seen from this process"):
        checkpoints.at(10)


def test_a_failure_to_write_is_raised_at_the_next_call(checkpoints):
    checkpoints.folder.parent.mkdir(exist_ok=True)
    checkpoints.folder.write_text("a file where the folder should be")
    checkpoints.save(1, {"a": torch.zeros(1)}, {}, {})
    with pytest.raises(StorageError, match="a checkpoint couldn't be written"):
        checkpoints.wait()
    checkpoints.wait()  # told once


def test_a_full_disk_is_named_and_leaves_no_scrap(small_disk, warnings):
    checkpoints = Checkpoints(small_disk / "checkpoints", keep=2, warn=warnings.append)
    save(checkpoints, 1)
    checkpoints.save(2, {"a": torch.zeros(4 << 20)}, {}, {})  # 16 MB on 8
    with pytest.raises(StorageError, match=r"checkpoints: a checkpoint couldn't be written: the disk is full"):
        checkpoints.wait()
    assert names(checkpoints) == ["step-1"]


def leave_with(error, checkpoints, tensor):
    with checkpoints:
        checkpoints.save(1, {"a": tensor}, {}, {})
        raise error


def test_leaving_waits_for_what_is_being_written(checkpoints, warnings):
    # Whatever ends a run: once it has let go of the folder, nothing of it writes there any more.
    with pytest.raises(KeyboardInterrupt):
        leave_with(KeyboardInterrupt(), checkpoints, torch.zeros(1 << 20))
    assert names(checkpoints) == ["step-1"]
    assert not any(thread.name == "checkpoint" for thread in threading.enumerate())

    shutil.rmtree(checkpoints.folder)
    checkpoints.folder.write_text("in the way")
    with pytest.raises(ValueError, match="first"):
        leave_with(ValueError("first"), checkpoints, torch.zeros(1))
    assert "couldn't be written either" in warnings[0]
