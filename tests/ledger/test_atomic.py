"""`atomic_write`: the old bytes or the new, never a mixture; and how a full disk is told."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from bedplate.errors import StorageError
from bedplate.ledger import atomic_write
from bedplate.ledger.atomic import out_of_space, storage_errors

REWRITE = """
import sys
from pathlib import Path
from bedplate.ledger import atomic_write
path = Path(sys.argv[1])
while True:
    for letter in "ab":
        atomic_write(path, letter * 300_000)
"""


def test_replaces_text_and_bytes(tmp_path):
    path = tmp_path / "file"
    atomic_write(path, "süß")
    assert path.read_bytes() == "süß".encode()
    atomic_write(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert os.listdir(tmp_path) == ["file"]


def test_a_kill_leaves_one_or_the_other(tmp_path):
    path = tmp_path / "file"
    for pause in (0.0, 0.003, 0.007):
        path.unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, "-c", REWRITE, str(path)])
        while not path.exists():
            time.sleep(0.01)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert path.read_bytes() in (b"a" * 300_000, b"b" * 300_000)


def test_a_full_disk_names_the_folder_and_what_was_needed(tmp_path):
    with pytest.raises(StorageError) as caught, storage_errors(tmp_path, kept="nothing is lost", needed=2_500_000):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(tmp_path) in caught.value.problem
    assert "2.5 MB more were needed" in caught.value.problem
    assert "Nothing is lost. Make room" in caught.value.fix


def test_a_missing_folder_is_no_storage_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "none" / "file", "x")


def test_out_of_space_is_seen_behind_other_errors():
    assert out_of_space(OSError(errno.EDQUOT, ""))
    assert out_of_space(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert out_of_space(OSError("2048 requested and 112 written"))  # numpy's tofile
    wrapped = ValueError("could not save")
    wrapped.__cause__ = OSError(errno.ENOSPC, "")
    assert out_of_space(wrapped)
    assert not out_of_space(OSError(errno.EIO, ""))
