"""Real processes: killed in the middle, two at once, signals, a disk that is full."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bedplate.ledger import open_artefact

MAKE = """
import sys, toy_stages
from bedplate.console import Console
from bedplate.errors import BedplateError
from bedplate.ledger import produce
stage, config, out = sys.argv[1:]
stage = getattr(toy_stages, stage)
try:
    produce(stage, stage.config.model_validate_json(config), {}, out, name="x", console=Console.plain(), replace=True)
except BedplateError as error:
    print(type(error).__name__, error)
    raise SystemExit(error.exit_code)
"""


def start(stage: str, out: Path, **config) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", MAKE, stage, json.dumps(config), str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out + err


def wait_for(out: Path, part: int, process: subprocess.Popen[str]) -> Path:
    """The file of a part, once a process that works on `out` has written it."""
    for _ in range(1000):
        found = list(out.parent.glob(f"{out.name}.partial-*/part-{part}.txt"))
        if found:
            return found[0]
        assert process.poll() is None, finish(process)
        time.sleep(0.01)
    raise AssertionError("the process never got there")


def test_killed_work_goes_on_where_it_was(tmp_path):
    out = tmp_path / "out"
    parts = 12
    wrote: list[str] = []
    for reached in (2, 6):
        process = start("SLOW", out, parts=parts)
        wait_for(out, reached, process)
        process.kill()
        code, text = finish(process)
        assert code == -signal.SIGKILL
        assert not out.exists()
        wrote += re.findall(r"wrote (\d+)", text)
    code, text = finish(start("SLOW", out, parts=parts))
    assert code == 0, text
    assert "going on with the unfinished work" in text
    wrote += re.findall(r"wrote (\d+)", text)
    # Nothing finished was done twice (what was being written at the kill may be untold, but never told twice).
    assert len(wrote) == len(set(wrote))
    artefact = open_artefact(out)
    artefact.verify()
    assert len(artefact.manifest.outputs) == parts
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == ["out"]


def test_what_interrupted_attempts_cost_is_counted(tmp_path):
    out = tmp_path / "out"
    process = start("SLOW", out, parts=120, pause_s=0.01)
    wait_for(out, 60, process)
    process.send_signal(signal.SIGINT)
    finish(process)
    for path in out.parent.glob("out.partial-*"):
        for index in range(120):
            (path / f"part-{index}.txt").write_text(f"part {index}")
    code, text = finish(start("SLOW", out, parts=120, pause_s=0.01))
    assert code == 0, text
    assert open_artefact(out).manifest.resources["wall_s"].value > 0.6


def test_two_at_once(tmp_path):
    out = tmp_path / "out"
    first = start("SLOW", out, parts=200)
    wait_for(out, 0, first)
    began = time.monotonic()
    code, text = finish(start("SLOW", out, parts=200))
    assert time.monotonic() - began < 10
    assert code == 2
    assert re.search(rf"BusyError .*out: another process is at work on it \(process {first.pid} on \S+, since 20", text)
    first.kill()
    finish(first)
    # The dead one's lock is nobody's.
    second = start("SLOW", out, parts=3, pause_s=0)
    assert finish(second)[0] == 0


def test_four_at_once_make_it_exactly_once(tmp_path):
    processes = [start("SLOW", tmp_path / "out", parts=5, pause_s=0.1) for _ in range(4)]
    results = [finish(process) for process in processes]
    assert {code for code, _ in results} <= {0, 2}
    assert sum("wrote 0" in text for _, text in results) == 1
    open_artefact(tmp_path / "out").verify()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no mount command: {error}")
    if done.returncode:
        pytest.skip(f"this user can't mount a small tmpfs: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_the_work_and_says_so(small_disk):
    out = small_disk / "out"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(4 << 20))
    code, text = finish(start("FILL", out, megabytes=6))
    assert code == 2
    assert "StorageError" in text
    assert "the disk is full" in text
    assert re.search(r"work so far is kept in \S+/out\.partial-[0-9a-f]{16}", text)
    assert not out.exists()
    partial = next(small_disk.glob("out.partial-*"))
    kept = {path.name: path.stat().st_mtime_ns for path in partial.glob("*.bin")}
    assert kept
    ballast.unlink()
    code, text = finish(start("FILL", out, megabytes=6))
    assert code == 0, text
    open_artefact(out).verify()
    assert {name: (out / name).stat().st_mtime_ns for name in kept} == kept


def test_a_disk_that_fills_at_the_replacement_keeps_the_old(small_disk):
    out = small_disk / "out"
    assert finish(start("FILL", out, megabytes=3))[0] == 0
    before = open_artefact(out).digest
    assert finish(start("FILL", out, megabytes=7))[0] == 2
    assert open_artefact(out).digest == before
    open_artefact(out).verify()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    code, text = finish(start("SLOW", tmp_path / "out", parts=1))
    assert (code, "can't be written" in text) == (2, True)
