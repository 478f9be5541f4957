"""A careless or malicious user's workbench: one tiny run from documents to release, built once, and commands tried on
copies of it in real processes."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

RECIPE = """\
name: tiny
stages:
  corpus: {do: curate, sources: [{folder: docs, license: MIT}], validation: 0.2}
  tokenizer: {do: train-tokenizer, inputs: {corpus: corpus}, vocabulary: 300}
  tokens: {do: tokenize, inputs: {corpus: corpus, tokenizer: tokenizer}}
  model:
    do: pretrain
    inputs: {tokens: tokens}
    architecture:
      {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1}
    steps: 6
    batch: 2
    length: 32
    threads: 1
  evaluation:
    do: evaluate
    inputs: {run: model, tokens: tokens, corpus: corpus}
    samples: 2
    sample_tokens: 8
    max_bytes: 3000
  release: {do: release, inputs: {run: model, evaluation: evaluation}}
"""
WORDS = "the a of cat dog sees runs over river bridge under morning light and old stone house never brings"
STAGES = ("corpus", "tokenizer", "tokens", "model", "evaluation", "release")

# Several commands in one process: each is the whole command line, and torch is loaded once.
DRIVER = """
import contextlib, io, json, os, sys, traceback
from bedplate.cli.entry import main
for line in sys.stdin:
    folder, arguments = json.loads(line)
    os.chdir(folder)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except BaseException:
            code = None
            traceback.print_exc()
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""

COMMAND = [sys.executable, "-m", "bedplate"]


@dataclass(frozen=True)
class Said:
    """What a command left: its exit code, and the texts of stdout and stderr."""

    code: int | None
    out: str
    err: str

    def is_mistake(self, *phrases: str) -> None:
        """Exit code 2, and one plain statement that names things and says the fix, with nothing of our insides."""
        assert self.code == 2, self
        assert sum(line.startswith("error: ") for line in self.err.splitlines()) == 1, self
        assert "Traceback" not in self.err
        for phrase in phrases:
            assert phrase in self.err, self
        self.is_harmless()

    def is_done(self) -> None:
        assert self.code == 0, self
        self.is_harmless()

    def is_harmless(self) -> None:
        """A terminal would show all of it and obey none of it."""
        commands = {c for c in self.out + self.err if c != "\n" and unicodedata.category(c) in ("Cc", "Cs")}
        assert not commands, self


Perform = Callable[..., list[Said]]


def environment() -> dict[str, str]:
    named = {name: value for name, value in os.environ.items() if name != "BEDPLATE_DATA"}
    return named | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}


def perform_all(folder: Path, commands: Iterable[Sequence[str | Path]], *, timeout: float = 300) -> list[Said]:
    """The commands one after another, in one process that stands in `folder`."""
    asked = "".join(json.dumps([str(folder), [str(word) for word in command]]) + "\n" for command in commands)
    done = subprocess.run(
        [sys.executable, "-c", DRIVER], input=asked, env=environment(), capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stderr
    return [Said(*json.loads(line)) for line in done.stdout.splitlines()]


@pytest.fixture(scope="session")
def perform() -> Perform:
    """`perform(folder, commands)`: what each command said."""
    return perform_all


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with docs/, tiny.yaml and runs/tiny/ with every stage made. Look, don't touch."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "docs").mkdir()
    for number in range(40):
        draw = random.Random(number)
        text = "\n".join(" ".join(draw.choices(WORDS.split(), k=12)) for _ in range(8))
        (folder / "docs" / f"{number:02}.txt").write_text(text + "\n")
    (folder / "tiny.yaml").write_text(RECIPE)
    (said,) = perform_all(folder, [["run", "tiny.yaml"]])
    said.is_done()
    return folder


@pytest.fixture
def bench(world: Path, tmp_path: Path) -> Path:
    """A copy of the world to break; every artefact in it is as good as the original."""
    return copy(world, tmp_path / "bench")


@pytest.fixture(scope="module")
def workshop(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Like `bench`, one for all tests of a file."""
    return copy(world, tmp_path_factory.mktemp("workshop") / "bench")


def copy(world: Path, folder: Path) -> Path:
    shutil.copytree(world, folder)
    return folder


@pytest.fixture(scope="session")
def stages() -> tuple[str, ...]:
    """The names of the recipe's stages, in order."""
    return STAGES


@pytest.fixture(scope="session")
def start() -> Callable[..., subprocess.Popen[str]]:
    """`start(folder, "run", "tiny.yaml")`: a command in a process of its own, both outputs piped."""

    def begin(folder: Path, *arguments: str, **options) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        return subprocess.Popen([*COMMAND, *arguments], cwd=folder, env=environment(), text=True, **pipes)

    return begin


def unfinished(folder: Path) -> list[str]:
    """What lies about beside artefacts: partial, replaced and temporary names anywhere below."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if any(sign in path.name for sign in (".partial-", ".replaced-", ".bedplate-tmp-"))
    )


@pytest.fixture(scope="session")
def litter() -> Callable[[Path], list[str]]:
    return unfinished
