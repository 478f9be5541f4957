"""The README's commands do what it says: each is run as written, on a model that is built here by its own recipe.

A fenced block in `console`, `bash` or `python` is preceded by `<!-- test -->`, or by `<!-- not tested: why -->`. The
blocks run in the README's order in one folder, where a scaled-down run of the quickstart's recipe stands for the full
one.
"""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"

RUNNABLE = ("console", "bash", "python")
BLOCK = re.compile(r"(?P<marker><!--[^>]*-->)?\n```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
MAKE = re.compile(r"(?:^|`)make ([a-z]+)", re.MULTILINE)

# The quickstart, small: the same stages and folders, on one package of the standard library and with a tiny model.
SMALL = (
    f"corpus.sources=[{{folder: '{Path(email.__file__).parent}', include: ['*.py'], license: PSF-2.0}}]",
    "corpus.validation=0.3",
    "tokenizer.vocabulary=512",
    "model.architecture.hidden_size=64",
    "model.architecture.intermediate_size=128",
    "model.architecture.num_hidden_layers=2",
    "model.steps=3",
    "model.schedule.warmup=1",
    "model.batch=4",
    "model.validation_tokens=2000",
    "evaluation.max_bytes=5000",
    "evaluation.samples=2",
    "evaluation.sample_tokens=8",
)


@dataclass(frozen=True)
class Example:
    """One fenced block and the comment above it."""

    marker: str
    language: str
    body: str
    line: int

    @property
    def tested(self) -> bool:
        return self.marker == "<!-- test -->"

    @property
    def script(self) -> str:
        """What a reader would type: of a console block the lines after `$ `, the rest being output."""
        if self.language != "console":
            return self.body
        return "\n".join(line[2:] for line in self.body.splitlines() if line.startswith("$ "))


def examples() -> list[Example]:
    text = README.read_text(encoding="utf-8")
    return [
        Example(m["marker"] or "", m["language"], m["body"], text.count("\n", 0, m.start("language")) + 1)
        for m in BLOCK.finditer(text)
        if m["language"] in RUNNABLE
    ]


def test_every_example_is_tested_or_says_why_not() -> None:
    unmarked = [e.line for e in examples() if not e.tested and not e.marker.startswith("<!-- not tested: ")]
    assert not unmarked, f"README.md lines {unmarked}: neither <!-- test --> nor <!-- not tested: why --> above"
    assert any(e.tested for e in examples())


@pytest.mark.parametrize("target", sorted(set(MAKE.findall(README.read_text(encoding="utf-8")))))
def test_make_targets_exist(target: str) -> None:
    done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_links_within_the_repository_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", README.read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.slow
def test_examples_run(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def run(command: list[str], what: str) -> None:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, input="", capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, (
            f"{what}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        )

    run([sys.executable, "-m", "bedplate", "run", "recipes/quickstart.yaml", *SMALL], "the quickstart's recipe, small")
    for example in examples():
        if example.tested:
            shell = [sys.executable, "-c"] if example.language == "python" else ["bash", "-euo", "pipefail", "-c"]
            run([*shell, example.script], f"README.md line {example.line}")
