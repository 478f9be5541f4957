"""A loss over the whole batch is the same however the batch is cut: into micro-batches, and among ranks."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import coupled_case
import pytest
import torch
from coupled_case import WAYS, run, trainer
from safetensors.torch import load_file

from bedplate.data.row_sources import FirstRows
from bedplate.errors import InputError
from bedplate.train.validation import MeanLoss


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """In one process and one piece, through autograd alone."""
    folder = tmp_path_factory.mktemp("plain")
    return functools.cache(lambda way: run(folder, way))


def assert_equal(found, expected, tolerance=1e-6):
    """Every tensor within the tolerance relative to its own norm, or to the whole gradient's where that is nothing but
    rounding itself: a bias on keys has no gradient."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        error = float((found[name] - value).norm())
        assert error <= tolerance * max(float(value.norm()), float(expected["norm"]) * 0.01), (name, error)


def test_the_plain_loss_is_that_of_the_definition(tmp_path, plain):
    """One batch, no cache: every gradient against autograd through the textbook formula."""
    for way, (both_ways, scale) in WAYS.items():
        made = trainer(tmp_path, way)
        batch = made.loader.batch(0)
        a, b = (made.net(batch[f"{p}tokens"], batch[f"{p}valid"]) for p in ("", "pair_"))
        factor = 20.0 if scale is None else made.net.log_scale.exp()
        scores = torch.cosine_similarity(a[:, None], b[None], dim=-1) * factor
        loss = -torch.log_softmax(scores, 1).diag().mean()
        if both_ways:
            loss = (loss - torch.log_softmax(scores, 0).diag().mean()) / 2
        loss.backward()
        expected = plain(way)
        assert float(loss.detach()) == pytest.approx(float(expected["loss"]), rel=1e-6)
        for name, p in made.net.named_parameters():
            torch.testing.assert_close(p.grad, expected[f"gradient of {name}"], rtol=1e-5, atol=1e-6)
        assert ("gradient of log_scale" in expected) == (scale is not None)


@pytest.mark.parametrize("micro_batch", [8, 4, 1])
@pytest.mark.parametrize("way", WAYS)
def test_micro_batches(tmp_path, plain, way, micro_batch):
    assert_equal(run(tmp_path, way, micro_batch), plain(way))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(Path(coupled_case.__file__)), str(folder)],
        capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-8000:]
    return folder


@pytest.mark.parametrize("micro_batch", [8, 4])
@pytest.mark.parametrize("way", WAYS)
def test_two_ranks(two, plain, way, micro_batch):
    """With 8 a rank has its rows in one piece, with 4 in two."""
    assert_equal(load_file(two / f"{way} {micro_batch}.safetensors"), plain(way))


def test_dropped_places_are_dropped_again(tmp_path):
    """An adapter's dropout draws the same in both passes, so that gradients are of the loss that was taken."""
    from bedplate.deltas.lora import LoraConfig, add_lora

    found = []
    for micro_batch in (None, 8):
        made = trainer(tmp_path, "one way", micro_batch)
        delta = add_lora(made.net.body, LoraConfig(rank=2, dropout=0.5), torch.Generator().manual_seed(0))
        for layer in delta.layers.values():
            torch.nn.init.constant_(layer.lora_b, 0.1)
        made.step.train()
        parameters = [layer.lora_b for layer in delta.layers.values()]
        batch, weights = made.loader.batch(0), {"contrastive": torch.tensor(16)}
        delta.seed_dropout(7)
        if micro_batch is None:
            # The same draws as two micro-batches make, in one graph.
            halves = [{n: v[i : i + 8] for n, v in batch.items()} for i in (0, 8)]
            objective = made.step.objective
            terms = objective.loss(torch.cat([objective.features(made.net, half) for half in halves]))
            loss = terms["contrastive"].sum / 16
            loss.backward()
        else:
            loss = made._backward(made.micro_batches(batch), weights)
        found.append((float(loss.detach()), torch.cat([p.grad.flatten() for p in parameters])))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert (found[0][1] - found[1][1]).norm() <= 1e-5 * found[0][1].norm()


def test_too_few_validation_rows_are_refused(tmp_path):
    made = trainer(tmp_path, "one way")
    with pytest.raises(InputError, match="15 validation rows, where the loss compares the 16 of a batch"):
        MeanLoss(FirstRows(coupled_case.SomePairs(), 15)).scores(made)
