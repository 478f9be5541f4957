"""Tuning that is killed, again and again, gives what it would have given undisturbed, to the bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bedplate.ledger import open_artefact

SCRIPT = Path(__file__).parent / "tuning_process.py"
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
CLASSES = {"way": "lora", "tune": "encoder", "dropout": 0.1, "learning_rates": [1e-3, 3e-3, 1e-2], "epochs": 30.0}
ANSWERS = {"way": "bitfit", "learning_rates": [3e-3, 1e-2], "epochs": 30.0}


class Runs:
    """Attempts at one artefact."""

    def __init__(self, folder, way, task, role, given):
        self.out = folder / "made"
        folder.mkdir()
        self.request = folder / "request.json"
        config = {"task": {"file": str(task)}, "way": {**way, "batch": 8, "length": 64}, "seed": 5}
        asked = {"config": config, "inputs": {role: str(given.path)}, "out": str(self.out), "checkpoint_flops": 2e8}
        self.request.write_text(json.dumps(asked))

    def start(self):
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), str(self.request)],
            env={**os.environ, **ENVIRONMENT},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self):
        process = self.start()
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said
        return open_artefact(self.out)

    def checkpoints(self):
        """(learning rate's folder, step) of those in place."""
        found = self.out.parent.glob("made.partial-*/tuning/rate-*/checkpoints/step-*")
        return {(path.parents[1].name, path.name) for path in found}

    def kill_at_the_next_checkpoint(self):
        before = self.checkpoints()
        process = self.start()
        deadline = time.monotonic() + 90
        while self.checkpoints() <= before:
            if process.poll() is not None:
                return False
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.kill()
        process.communicate()
        return True


@pytest.mark.slow
@pytest.mark.parametrize(("way", "role", "task"), [(CLASSES, "encoder", "things"), (ANSWERS, "base", "capitals")])
def test_a_kill_changes_nothing(request, tmp_path, way, role, task):
    given, file = request.getfixturevalue(role), request.getfixturevalue(task)
    undisturbed = Runs(tmp_path / "undisturbed", way, file, role, given).finish()
    disturbed = Runs(tmp_path / "disturbed", way, file, role, given)
    killed = sum(disturbed.kill_at_the_next_checkpoint() for _ in range(4))
    assert killed >= 3
    made = disturbed.finish()
    assert made.digest == undisturbed.digest
    for name in ("tried", "best", "validation", "flops", "tokens", "steps", "stopped_early"):
        assert made.measures[name] == undisturbed.measures[name], name
    assert not list(made.path.rglob("tuning*"))
