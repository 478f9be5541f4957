"""A curation that is killed, again and again, ends with the very bytes of one that wasn't; workers change nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bedplate.data.curate import CurateConfig
from bedplate.ledger import open_artefact

RUN = """
import json, sys
from bedplate.console import Console
from bedplate.data.curate import CURATE, CurateConfig
from bedplate.ledger import produce

if __name__ == "__main__":
    config = CurateConfig.model_validate(json.loads(sys.argv[1]))
    produce(CURATE, config, {}, sys.argv[2], name="corpus", console=Console.quiet())
"""


@pytest.fixture
def curate(tmp_path):
    """Starts a curation as a process of its own."""
    (tmp_path / "run.py").write_text(RUN)

    def start(config, out):
        given = CurateConfig.model_validate(config).model_dump_json()
        return subprocess.Popen([sys.executable, str(tmp_path / "run.py"), given, str(out)])

    return start


@pytest.mark.parametrize(("kills", "documents"), [(4, 300), pytest.param(20, 1200, marks=pytest.mark.slow)])
def test_killed_at_random_moments_the_bytes_are_the_same(curate, mingled, tmp_path, kills, documents):
    config = mingled(documents) | {"workers": 2}
    began = time.monotonic()
    assert curate(config, tmp_path / "whole").wait() == 0
    took = time.monotonic() - began
    draw = random.Random(documents)
    landed = 0
    for _ in range(kills):
        process = curate(config, tmp_path / "killed")
        # Later and later, so that the kills fall all over the run although each attempt begins where the last ended.
        time.sleep(draw.uniform(0.3, 0.3 + took))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        landed += any(tmp_path.glob("killed.partial-*/work/*"))
        if (tmp_path / "killed" / "bedplate.json").is_file():
            subprocess.run(["rm", "-r", str(tmp_path / "killed")], check=True)
    assert landed  # in the middle of the work, and not before it or behind it
    assert curate(config, tmp_path / "killed").wait() == 0
    whole, killed = open_artefact(tmp_path / "whole"), open_artefact(tmp_path / "killed")
    killed.verify()
    assert files(killed.path) == files(whole.path)
    assert killed.digest == whole.digest
    assert not list(tmp_path.glob("killed.partial-*"))


def test_workers_change_nothing(curate, mingled, tmp_path):
    sources = mingled(300)
    digests = set()
    for workers in (1, 2, 3):
        assert curate(sources | {"workers": workers}, tmp_path / f"out{workers}").wait() == 0
        digests.add(open_artefact(tmp_path / f"out{workers}").digest)
    assert len(digests) == 1


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}
