"""A tiny corpus made into tokens once, recipes that train on it, and runs of them in processes of their own."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import bedplate
from bedplate.console import Console
from bedplate.machine.probe import compiler, python_headers

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

from runs import ENVIRONMENT, MODEL, Runner  # noqa: E402 - found through the line above

WORDS = (
    "the",
    "a",
    "gear",
    "shaft",
    "plate",
    "oil",
    "turns",
    "holds",
    "cools",
    "lifts",
    "slow",
    "fast",
    "while",
    "until",
)


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


@pytest.fixture
def make_runner(tmp_path: Path, tokens: Path) -> Callable[..., Runner]:
    """make_runner("name", steps=3): a runner in a folder of its own."""

    def make(name: str = "it", **options: Any) -> Runner:
        return Runner(tmp_path / name, tokens, {**MODEL, **options})

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
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


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tokens: Path) -> Runner:
    """The run of MODEL that nothing disturbed."""
    runner = Runner(tmp_path_factory.mktemp("undisturbed"), tokens)
    runner.complete()
    return runner


@pytest.fixture(scope="session")
def compiler_works() -> None:
    """Skips where torch.compile has nothing to compile with."""
    found = compiler()
    if not found.works or not python_headers():
        pytest.skip(f"nothing to compile with: {found.problem or 'no Python headers'}")
