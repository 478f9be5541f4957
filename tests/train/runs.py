"""Training runs in processes of their own: started, waited for, read."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

# Many small processes on few cores: one thread each, and none that spins while it waits for another.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
ARCHITECTURE = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "tie_word_embeddings": True,
}  # fmt: skip
MODEL: dict[str, Any] = {
    "architecture": ARCHITECTURE, "steps": 240, "batch": 4, "length": 32, "schedule": {"warmup": 5},
    "dtype": "float32", "threads": 1, "compile": "no",
    "log_every": 4, "checkpoint_every": 9, "validate_every": 50, "validation_tokens": 200,
}  # fmt: skip


@dataclass
class Runner:
    """A recipe of one pretrain stage, and processes that run it. `options`: the stage's fields."""

    folder: Path
    tokens: Path
    options: dict[str, Any] = field(default_factory=lambda: dict(MODEL))
    said: str = ""

    @property
    def out(self) -> Path:
        return self.folder / "run"

    @property
    def partial(self) -> Path:
        """Where the unfinished work lies."""
        return next(self.folder.glob("run.partial-*"))

    def command(self, processes: int = 1) -> list[str]:
        stage = {"do": "pretrain", "inputs": {"tokens": str(self.tokens)}, "out": str(self.out), **self.options}
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "recipe.yaml").write_text(yaml.safe_dump({"name": "tiny", "stages": {"model": stage}}))
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        own = ["-m", "bedplate", "pretrain", str(self.folder / "recipe.yaml")]
        return [sys.executable, *(launcher if processes > 1 else []), *own]

    def start(self, processes: int = 1) -> subprocess.Popen[str]:
        return self.start_command(self.command(processes))

    def start_command(self, command: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, **ENVIRONMENT},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self, process: subprocess.Popen[str] | None = None, processes: int = 1) -> tuple[int, str]:
        """Its exit code and all that it said."""
        process = process or self.start(processes)
        try:
            said, _ = process.communicate(timeout=150)
        except subprocess.TimeoutExpired:
            for worker in self.workers():
                worker.kill()
            process.kill()
            raise
        return process.returncode, said

    def workers(self) -> list[psutil.Process]:
        """The processes that torchrun has started for it, each in a session of its own."""
        recipe = str(self.folder / "recipe.yaml")
        lines = [(process, process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
        return [process for process, line in lines if recipe in line and "torch.distributed.run" not in line]

    def complete(self, processes: int = 1) -> str:
        code, said = self.finish(processes=processes)
        assert code == 0, said
        return said

    def wait_for(self, process: subprocess.Popen[str], step: int) -> None:
        """Wait until a checkpoint of at least `step` is in place."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            found = [int(p.name.removeprefix("step-")) for p in self.folder.glob("run.partial-*/checkpoints/step-*")]
            if max(found, default=0) >= step:
                return
            if process.poll() is not None:
                raise AssertionError(f"it ended before step {step}: {process.communicate()[0]}")
            time.sleep(0.002)
        raise AssertionError(f"no checkpoint of step {step} in time")

    def metrics(self) -> list[dict[str, Any]]:
        lines = (self.out / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def curve(self) -> list[tuple[Any, ...]]:
        """What a run's lines must have in common with those of an undisturbed one: all but speeds and times."""
        return [
            (row["step"], row["loss"], row["bits_per_byte"], row["lr"], row["grad_norm"], row.get("validation"))
            for row in self.metrics()
        ]

    def weights(self) -> str:
        return hashlib.sha256((self.out / "model" / "model.safetensors").read_bytes()).hexdigest()
