"""A tiny corpus made into tokens once, recipes that train on it, and runs of them in processes of their own."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import bedplate
from bedplate.console import Console

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

# Many small processes on few cores: one thread each, and none that spins while it waits for another.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
WORDS = "the a gear shaft plate oil turns holds cools lifts slow fast old new and or while until".split()
ARCHITECTURE = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "tie_word_embeddings": True,
}  # fmt: skip
MODEL: dict[str, Any] = {
    "architecture": ARCHITECTURE, "steps": 60, "batch": 4, "length": 32, "schedule": {"warmup": 5},
    "dtype": "float32", "threads": 1, "compile": "no",
    "log_every": 4, "checkpoint_every": 7, "validate_every": 20, "validation_tokens": 200,
}  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    os.environ.update(ENVIRONMENT)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokens artefact of 120 short documents."""
    folder = tmp_path_factory.mktemp("tiny")
    choose = random.Random(0)
    documents = [" ".join(choose.choices(WORDS, k=choose.randint(3, 60))) + f" {i}." for i in range(120)]
    (folder / "documents.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    out = {name: str(folder / name) for name in ("corpus", "tokenizer", "tokens")}
    stages = {
        "corpus": {
            "do": "curate",
            "sources": [{"jsonl": str(folder / "documents.jsonl"), "license": "CC0-1.0"}],
            "validation": 0.1,
            "out": out["corpus"],
        },
        "tokenizer": {
            "do": "train-tokenizer", "inputs": {"corpus": "corpus"}, "vocabulary": 300, "out": out["tokenizer"],
        },
        "tokens": {"do": "tokenize", "inputs": {"corpus": "corpus", "tokenizer": "tokenizer"}, "out": out["tokens"]},
    }  # fmt: skip
    recipe = folder / "tiny.yaml"
    recipe.write_text(yaml.safe_dump({"name": "tiny", "stages": stages}))
    bedplate.run(recipe, console=Console.quiet())
    return folder / "tokens"


@dataclass
class Runner:
    """A recipe of one pretrain stage, and processes that run it. `options`: the stage's fields."""

    folder: Path
    tokens: Path
    options: dict[str, Any] = field(default_factory=lambda: dict(MODEL))

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
        return subprocess.Popen(
            self.command(processes),
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
        said, _ = process.communicate(timeout=150)
        return process.returncode, said

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

    def metrics(self, folder: Path | None = None) -> list[dict[str, Any]]:
        lines = ((folder or self.out) / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def curve(self) -> list[tuple[Any, ...]]:
        """What a run's lines must have in common with those of an undisturbed one: all but speeds and times."""
        return [
            (row["step"], row["loss"], row["bits_per_byte"], row["lr"], row["grad_norm"], row.get("validation"))
            for row in self.metrics()
        ]

    def weights(self) -> str:
        return hashlib.sha256((self.out / "model" / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture
def make_runner(tmp_path: Path, tokens: Path) -> Callable[..., Runner]:
    """make_runner("name", steps=3): a runner in a folder of its own."""

    def make(name: str = "it", **options: Any) -> Runner:
        return Runner(tmp_path / name, tokens, {**MODEL, **options})

    return make


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tokens: Path) -> Runner:
    """The run of MODEL that nothing disturbed."""
    runner = Runner(tmp_path_factory.mktemp("undisturbed"), tokens)
    runner.complete()
    return runner
