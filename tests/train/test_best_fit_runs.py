"""Runs on rows packed by best fit, whose padding counts for nothing: however they are cut, killed or shared, the same
curve."""

from __future__ import annotations

import json

import numpy as np
import pytest
from runs import MODEL

from bedplate.console import Console
from bedplate.data.best_fit import BestFitRows
from bedplate.data.tokens import TokenSet
from bedplate.train.config import PretrainConfig
from bedplate.train.pretrain import train

PACKED = {"packing": "best_fit", "length": 50}
SHORT = MODEL | PACKED | {"steps": 12, "checkpoint_every": 5, "validate_every": 6, "log_every": 1}


def go(tokens, folder, said=None, **options):
    folder.mkdir(exist_ok=True)
    console = Console.quiet()
    if said is not None:
        console.say = said.append
    return train(PretrainConfig(**(SHORT | options)), tokens, folder, console)


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_says_how_its_rows_are_filled(tmp_path, tokens):
    said = []
    measures = go(tokens, tmp_path / "run", said)
    expected = BestFitRows(TokenSet.open(tokens), "train", 50, 0).measures()
    assert measures["packing"] == expected
    assert expected["padding"] > 0
    assert expected["cut_documents"] > 0
    assert [line for line in said if line.startswith("best fit: ") and f"{expected['padding']:.2%} padding" in line]
    assert "packing" not in go(tokens, tmp_path / "stream", packing="stream")


def test_the_loss_falls(tmp_path, tokens):
    go(tokens, tmp_path / "run", steps=60, optimiser={"learning_rate": 1e-2})
    found = losses(tmp_path / "run")
    assert np.mean(found[-10:]) < 0.75 * np.mean(found[:10])


@pytest.mark.parametrize(
    "options",
    [
        {"objective": {"name": "prefix"}},
        {"architecture": {"model_type": "mixtral", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
                          "num_attention_heads": 4, "num_experts": 4, "num_experts_per_tok": 2},
         "objective": {"name": "next-token", "load_balance": 0.01}},
    ],
    ids=["prefix", "experts"],
)  # fmt: skip
@pytest.mark.parametrize("micro_batch", [1, 2])
def test_micro_batches_change_nothing(tmp_path, tokens, micro_batch, options):
    """Rows hold unequal numbers of pairs. fp32 sums in another order."""
    go(tokens, tmp_path / "whole", **options)
    go(tokens, tmp_path / "cut", micro_batch=micro_batch, **options)
    np.testing.assert_allclose(losses(tmp_path / "cut"), losses(tmp_path / "whole"), rtol=1e-4)


@pytest.mark.slow
def test_two_processes_take_the_same_rows(make_runner):
    one, two = make_runner("one", **PACKED, steps=20), make_runner("two", **PACKED, steps=20)
    one.complete()
    two.complete(processes=2)
    for ours, theirs in zip(two.curve(), one.curve(), strict=True):
        assert ours[0] == theirs[0]
        assert ours[1] == pytest.approx(theirs[1], rel=1e-4)


def test_a_killed_run_ends_bit_identical(make_runner):
    undisturbed, runner = make_runner("undisturbed", **PACKED, steps=60), make_runner("killed", **PACKED, steps=60)
    undisturbed.complete()
    process = runner.start()
    runner.wait_for(process, 18)
    process.kill()
    runner.finish(process)
    assert not runner.out.exists()
    assert "going on from step" in runner.complete()
    assert runner.curve() == undisturbed.curve()
    assert runner.weights() == undisturbed.weights()
