"""The loop where not all is trained, not all at once, or in rows of many lengths."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from training_case import LENGTH, TIED, Case, UnevenRows, trainer

from bedplate.errors import InternalError
from bedplate.train.checkpoint import Checkpoints
from bedplate.train.validation import BitsPerByte

FROZEN = Case(TIED, frozen="blocks.0", dtype="bfloat16")


class FewRows(UnevenRows):
    """Six validation rows of as many documents."""

    def __init__(self):
        super().__init__(kept=1.0)
        self.count = self.documents = 6
        self.pairs, self.bytes = 6 * LENGTH, 1000


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(made):
    return {name: value.clone() for name, value in made.whole_model().items()}


def test_what_is_frozen_stays_as_it_is_and_in_its_dtype(tmp_path):
    made = trainer(FROZEN, tmp_path)
    for p in made.net.parameters():
        if not p.requires_grad:
            p.data = p.data.bfloat16()
    before = {name: p.detach().clone() for name, p in made.net.named_parameters()}
    made.train()
    for name, p in made.net.named_parameters():
        if name.startswith("blocks.0"):
            assert p.dtype == torch.bfloat16
            assert p.grad is None
            assert torch.equal(p, before[name])
        else:
            assert p.dtype == torch.float32
            assert not torch.equal(p, before[name]), name
    saved = Checkpoints(tmp_path / "checkpoints", keep=1, warn=print).newest()
    trained = {name for name in before if not name.startswith("blocks.0")}
    assert saved.model().keys() == trained
    assert {key.partition("/")[0] for key in saved.optimiser()} == trained


def test_frozen_parameters_do_not_count_in_the_norm(tmp_path):
    whole, part = trainer(Case(TIED), tmp_path), trainer(Case(TIED, frozen="blocks.0"), tmp_path)
    norms = [float(made.update(made.loader.batch(0)).norm) for made in (whole, part)]
    assert norms[1] < norms[0]
    squares = sum(float(p.grad.square().sum()) for p in part.parameters.values())
    assert squares == pytest.approx(min(norms[1], 1.0) ** 2, rel=1e-4)


def test_it_refuses_to_train_nothing_or_in_bfloat16(tmp_path):
    with pytest.raises(InternalError, match="no parameter requires gradients"):
        trainer(Case(frozen=""), tmp_path)
    made = trainer(Case(), tmp_path)
    made.net.bfloat16()
    with pytest.raises(InternalError, match=r"embed\.weight is to be trained in torch\.bfloat16"):
        type(made)(
            made.net, made.step.objective, made.data, made.config, made.placement, made.parallel, tmp_path, made.console
        )


def test_in_stages_it_is_the_same_run(tmp_path):
    (tmp_path / "straight").mkdir()
    (tmp_path / "stages").mkdir()
    straight = trainer(Case(TIED), tmp_path / "straight")
    straight.train()
    first = trainer(Case(TIED), tmp_path / "stages")
    first.train(until=3)
    assert lines(tmp_path / "stages")[-1]["step"] == 3
    first.train(until=7)  # it reads its own checkpoint as any other would
    second = trainer(Case(TIED), tmp_path / "stages")
    second.train()
    for name, value in weights(straight).items():
        assert torch.equal(value, weights(second)[name]), name
    assert lines(tmp_path / "straight")[-1]["lr"] == lines(tmp_path / "stages")[-1]["lr"]


def test_a_judge_ends_the_run_and_is_told_of_every_validation(tmp_path):
    made = trainer(Case(TIED), tmp_path, validation=BitsPerByte(FewRows()))
    made.config = made.config.model_copy(update={"validate_every": 2})
    asked = []

    def judge(step, scores):
        asked.append((step, scores["loss"]))
        return len(asked) == 3

    scores = made.train(judge=judge)
    assert [step for step, _ in asked] == [2, 4, 6]
    assert scores["loss"] == asked[-1][1]
    assert [line["validation"]["loss"] for line in lines(tmp_path)] == [loss for _, loss in asked]
    assert [p.name for p in sorted((tmp_path / "checkpoints").iterdir())] == ["step-6"]


def test_without_validation_nothing_is_scored(tmp_path):
    made = trainer(Case(TIED), tmp_path)
    assert made.train() == made.validate() == {}
    assert all("validation" not in line for line in lines(tmp_path))


def test_what_is_drawn_in_a_step_hangs_on_its_number(tmp_path):
    numbers = []
    trainer(Case(TIED), tmp_path).train(until=4, before_step=numbers.append)
    trainer(Case(TIED), tmp_path).train(before_step=numbers.append)
    assert numbers == list(range(10))


class Ragged(UnevenRows):
    """Every step's rows have another length."""

    def rows(self, first, count):
        length = LENGTH - first // 16 % 5
        return {name: value[:, :length] for name, value in super().rows(first, count).items()}


def test_tokens_are_counted_from_the_rows(tmp_path):
    made = trainer(Case(TIED), tmp_path, rows=Ragged())
    assert [made.update(made.loader.batch(step)).tokens for step in range(6)] == [
        16 * (LENGTH - step % 5) for step in range(6)
    ]
    made.train()
    (line,) = lines(tmp_path)
    expected = sum(16 * (LENGTH - step % 5) for step in range(10))
    assert line["tokens_per_s"] * line["time_s"] == pytest.approx(expected, rel=1e-4)
    assert np.isfinite(line["loss"])
    assert "mfu" not in line
