"""The loop beside a plain PyTorch one, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from training_case import BATCH, LENGTH, QWEN3, SHAPE, TIED, Case, UnevenRows, run, trainer

from bedplate.errors import InputError
from bedplate.families.llama_config import LlamaConfig
from bedplate.families.model import Model
from bedplate.nn.mask import Mask
from bedplate.objectives.next_token import NextToken
from bedplate.objectives.term import Term
from bedplate.train import optimiser as optimisers


class PlainRows(UnevenRows):
    """One document a row, all of it supervised."""

    def rows(self, first, count):
        rows = super().rows(first, count)
        return rows | {
            "segments": np.zeros_like(rows["segments"]),
            "positions": np.broadcast_to(np.arange(LENGTH), rows["positions"].shape).copy(),
            "keep": np.ones_like(rows["keep"]),
        }


@pytest.mark.parametrize("architecture", [{}, TIED, QWEN3], ids=["llama", "tied", "qwen3"])
def test_five_steps_are_those_of_transformers_and_torch(tmp_path, architecture):
    from transformers import AutoModelForCausalLM

    made = trainer(Case(architecture, micro_batch=4, optimiser={"learning_rate": 1e-2}), tmp_path, PlainRows())
    Model(LlamaConfig(**(SHAPE | architecture)), made.net).save(tmp_path / "model")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model", attn_implementation="eager", dtype=torch.float32)
    decayed = [p for n, p in theirs.named_parameters() if p.ndim == 2 and "embed" not in n]
    plain = [p for n, p in theirs.named_parameters() if p.ndim == 1 or "embed" in n]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95), eps=1e-8)
    theirs.train()
    for step in range(5):
        batch = made.loader.batch(step)
        rate = (0.5, 1.0)[min(step, 1)]
        optimisers.set_learning_rate(made.optimisers, rate)
        ours = made.update(batch)
        for group in adamw.param_groups:
            group["lr"] = 1e-2 * rate
        logits = theirs(input_ids=batch["tokens"]).logits
        loss = F.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten())
        adamw.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        adamw.step()
        assert float(ours.loss) == pytest.approx(loss.item(), rel=1e-5)
        assert float(ours.norm) == pytest.approx(norm.item(), rel=1e-5)
        assert int(ours.weights["next_token"]) == BATCH * LENGTH


def test_a_batch_with_nothing_supervised_is_an_error(tmp_path):
    made = trainer(Case(), tmp_path, UnevenRows(kept=0.0))
    with pytest.raises(InputError, match=r"step 1: nothing in the whole batch is supervised for the loss 'next_token'"):
        made.train()
    assert not list(tmp_path.glob("checkpoints/step-*"))
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""


class Huge(NextToken):
    """A loss that is finite, with gradients whose squares aren't."""

    def __call__(self, net, batch):
        return {"next_token": Term(super().__call__(net, batch)["next_token"].sum, coefficient=1e35)}


def test_a_gradient_without_end_is_an_error(tmp_path):
    made = trainer(Case(), tmp_path)
    made.step.objective = Huge()
    with pytest.raises(InputError, match="the norm of the gradient is inf at step 1"):
        made.train()


class Two(NextToken):
    """Two terms over different parts of the batch, as an objective with an auxiliary loss has them."""

    def weights(self, batch):
        return {"all": batch["keep"].sum(), "early": (batch["keep"] & (batch["positions"] < 2)).sum()}

    def __call__(self, net, batch):
        every = super().__call__(net, batch)["next_token"].sum
        early = super().__call__(net, {**batch, "keep": batch["keep"] & (batch["positions"] < 2)})["next_token"].sum
        return {"all": Term(every), "early": Term(early, coefficient=0.5)}


def test_each_term_is_divided_by_its_own_weight(tmp_path):
    found = []
    for micro_batch in (None, 4, 1):
        made = trainer(Case(micro_batch=micro_batch), tmp_path)
        made.step.objective = Two()
        batch = made.loader.batch(0)
        if micro_batch is None:
            with torch.no_grad():
                hidden = made.net(batch["tokens"], positions=batch["positions"], mask=Mask(segments=batch["segments"]))
                logits = hidden @ made.net.head_weight.t()
            losses = F.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten(), reduction="none")
            early = (batch["keep"] & (batch["positions"] < 2)).flatten()
            expected = losses[batch["keep"].flatten()].mean() + 0.5 * losses[early].mean()
        outcome = made.update(batch)
        assert float(outcome.loss) == pytest.approx(float(expected), rel=1e-5)
        found.append(float(outcome.norm))
    assert found == pytest.approx([found[0]] * 3, rel=1e-5)


def test_the_loss_falls(tmp_path):
    losses = run(Case({}, steps=10, optimiser={"learning_rate": 1e-2}), tmp_path)["loss"]
    assert losses[-1] < losses[0] - 0.2
