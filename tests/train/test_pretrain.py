"""The stage's function, in this process: what it leaves behind, finished or not."""

from __future__ import annotations

import threading
from pathlib import Path

import psutil
import pytest
import torch
from runs import MODEL

from bedplate import load
from bedplate.console import Console
from bedplate.errors import InputError
from bedplate.train.config import PretrainConfig
from bedplate.train.pretrain import train

SHORT = MODEL | {"steps": 12, "checkpoint_every": 5, "validate_every": 6}


def go(tokens, folder, **options):
    folder.mkdir(exist_ok=True)
    return train(PretrainConfig(**(SHORT | options)), tokens, folder, Console.quiet())


def assert_nothing_is_left_at_work(folder: Path) -> None:
    assert not [file.path for file in psutil.Process().open_files() if file.path.startswith(str(folder))]
    assert not [thread.name for thread in threading.enumerate() if thread.name == "checkpoint"]


def test_a_run_says_what_it_did(tmp_path, tokens):
    measures = go(tokens, tmp_path / "run")
    assert (measures["steps"], measures["tokens"]) == (12, 12 * 4 * 32)
    model = load(tmp_path / "run", device="cpu")
    assert model.dtype == torch.float32
    assert measures["parameters"] == model.parameter_count()
    assert model.tokenizer is not None
    assert model.config.vocab_size % 64 == 0
    assert measures["validation"]["tokens"] <= SHORT["validation_tokens"]
    assert_nothing_is_left_at_work(tmp_path / "run")


def test_after_its_last_step_a_run_only_writes_its_model(tmp_path, tokens):
    """As after a kill between the last checkpoint and the end."""
    first = go(tokens, tmp_path / "run")
    metrics = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    weights = tmp_path / "run" / "model" / "model.safetensors"
    expected = weights.read_bytes()
    weights.unlink()
    again = go(tokens, tmp_path / "run")
    measured_just_now = {"placement", "mfu", "matrix_rate_gflops"}
    for name in first.keys() - measured_just_now:
        assert again[name] == first[name], name
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == metrics
    assert weights.read_bytes() == expected


def test_an_error_leaves_nothing_open_or_at_work(tmp_path, tokens):
    with pytest.raises(InputError, match="at step"):
        go(tokens, tmp_path / "run", optimiser={"learning_rate": 1e30, "clip": None}, checkpoint_every=1)
    assert_nothing_is_left_at_work(tmp_path / "run")
    assert (tmp_path / "run" / "checkpoints" / "step-1").is_dir()


def test_how_often_it_logs_and_saves_does_not_change_the_model(tmp_path, tokens):
    kept = []
    for name, options in {
        "often": {"log_every": 1, "checkpoint_every": 1},
        "seldom": {"checkpoint_every": 100},
    }.items():
        go(tokens, tmp_path / name, **options)
        kept.append((tmp_path / name / "model" / "model.safetensors").read_bytes())
    assert kept[0] == kept[1]
