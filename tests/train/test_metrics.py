"""`metrics.jsonl` and what waits to be written to it."""

from __future__ import annotations

import json
import math

import pytest
import torch

from bedplate.errors import ArtefactError, InputError
from bedplate.train.loop import Clock
from bedplate.train.metrics import DivergedError, Metrics, Outcome, Unlogged


def test_lines_beyond_the_checkpoint_are_cut(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with Metrics(path, 0) as metrics:
        metrics.write({"step": 1})
        kept = metrics.bytes()
        metrics.write({"step": 2})
    with path.open("ab") as file:
        file.write(b'{"step": 3')  # a kill in the middle of a line
    with Metrics(path, kept) as metrics:
        metrics.write({"step": 2, "again": True})
        assert [line["step"] for line in metrics.lines()] == [1, 2]
    assert path.read_text() == '{"step": 1}\n{"step": 2, "again": true}\n'
    with Metrics(path, 0):
        pass
    assert path.read_bytes() == b""


def test_a_file_that_lost_lines_is_not_gone_on_with(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(ArtefactError, match=r"metrics.jsonl: shorter than its checkpoint says \(40 bytes\)"):
        Metrics(tmp_path / "metrics.jsonl", 40)


def test_a_line_holds_nothing_that_json_has_not(tmp_path):
    with Metrics(tmp_path / "metrics.jsonl", 0) as metrics, pytest.raises(ValueError, match="Out of range"):
        metrics.write({"loss": math.nan})


def outcome(loss, norm=1.0, **weights):
    scalars = {name: torch.tensor(value) for name, value in (weights or {"next_token": 5}).items()}
    return Outcome(torch.tensor(loss), torch.tensor(norm), scalars, tokens=7)


def test_losses_come_back_from_a_checkpoint_to_the_bit():
    unlogged = Unlogged(10)
    for loss in (0.1, 1 / 3, 2.7):
        unlogged.add(outcome(loss))
    unlogged.settle()
    again = Unlogged(unlogged.step, json.loads(json.dumps(unlogged.losses)), unlogged.tokens)
    for each in (unlogged, again):
        each.add(outcome(4.2, norm=0.5))
    taken = again.take()
    assert taken == unlogged.take()
    assert taken[1] == 4 * 7
    assert (again.step, again.norm) == (14, 0.5)
    assert again.take() == ([], 0)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (outcome(math.nan), "the loss is nan at step 12"),
        (outcome(math.inf), "the loss is inf at step 12"),
        (outcome(1.0, norm=math.inf), "the norm of the gradient is inf at step 12"),
        (
            outcome(math.nan, next_token=0),
            "step 12: nothing in the whole batch is supervised for the loss 'next_token'",
        ),
    ],
)
def test_what_cannot_be_is_named_with_its_step(bad, message):
    unlogged = Unlogged(10)
    for each in (outcome(1.0), bad, outcome(math.nan)):
        unlogged.add(each)
    with pytest.raises(InputError, match=message) as caught:
        unlogged.settle()
    assert ("supervised" in message) != isinstance(caught.value, DivergedError)


def test_the_clock_counts_training_only(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("bedplate.train.loop.time.perf_counter", lambda: now[0])
    clock = Clock(before=3.0)
    now[0] += 2
    with clock.excluding():
        now[0] += 50
    now[0] += 1
    assert clock.seconds() == pytest.approx(6)
    clock.restart()
    now[0] += 4
    assert clock.seconds() == pytest.approx(4)
