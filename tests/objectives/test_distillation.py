"""The distillation loss beside trl's and torch's own divergences on the same outputs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bedplate.errors import InputError, RecipeError
from bedplate.nn import chunked_loss as chunks
from bedplate.nn.attention import Attention
from bedplate.nn.decoder import Decoder
from bedplate.nn.divergence import chunked_divergence
from bedplate.nn.head import Readout
from bedplate.nn.norm import RMSNorm
from bedplate.nn.residual import Block, Residual
from bedplate.objectives.distillation import Distillation
from bedplate.objectives.next_token import NextToken, next_token_states

VOCABULARY = 53


@pytest.fixture
def make_net(randomised):
    def make(width: int, vocabulary: int = VOCABULARY, **changes) -> Decoder:
        block = Block(Residual(Attention(2, 2, width // 2), pre_norm=RMSNorm(1e-5)))
        return randomised(Decoder(width, vocabulary, [block], RMSNorm(1e-5), **{"tied": False} | changes))

    return make


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, VOCABULARY, (3, 17), generator=generator)
    return {
        "tokens": tokens[:, :-1],
        "targets": tokens[:, 1:],
        "segments": torch.zeros(3, 16, dtype=torch.int64),
        "positions": torch.arange(16).expand(3, -1),
        "keep": torch.rand((3, 16), generator=generator) < 0.6,
    }


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_divergence_is_trls(make_net, batch, temperature):
    from trl.experimental.gkd.gkd_trainer import GKDTrainer

    student, teacher = make_net(16), make_net(24)
    labels = batch["targets"].where(batch["keep"], -100)
    logits = [net.readout.logits(next_token_states(net, batch)) for net in (student, teacher)]
    expected = GKDTrainer.generalized_jsd_loss(*logits, labels, beta=0, temperature=temperature, reduction="sum")
    objective = Distillation(teacher, temperature=temperature)
    found = objective(student, batch)["distillation"].sum
    torch.testing.assert_close(found, temperature**2 * expected, rtol=1e-6, atol=0)
    assert int(objective.weights(batch)["distillation"]) == int(batch["keep"].sum())


@pytest.mark.parametrize("changes", [{}, {"head_bias": True}, {"softcap": 2.0, "tied": True}], ids=["", "bias", "cap"])
@pytest.mark.parametrize("hard", [0.0, 0.3])
def test_loss_and_gradients_are_the_definition(monkeypatch, make_net, batch, changes, hard):
    monkeypatch.setattr(chunks, "MIN_CHUNK", 5)
    monkeypatch.setattr(chunks, "CHUNK_LOGITS", 1)
    student, teacher, T = make_net(16, **changes), make_net(24, softcap=5.0), 2.0
    keep = batch["keep"]
    taught = teacher.readout.logits(next_token_states(teacher, batch))[keep]
    logits = student.readout.logits(next_token_states(student, batch))[keep]
    soft = F.kl_div((logits / T).log_softmax(-1), (taught / T).softmax(-1).detach(), reduction="sum")
    expected = (1 - hard) * T**2 * soft + hard * F.cross_entropy(logits, batch["targets"][keep], reduction="sum")
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in student.named_parameters()}
    student.zero_grad()
    loss = Distillation(teacher, temperature=T, hard=hard)(student, batch)["distillation"].sum
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    loss.backward()
    for name, p in student.named_parameters():
        assert (p.grad - gradients[name]).norm() <= 1e-5 * gradients[name].norm(), name
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())


def test_a_student_like_its_teacher_has_nothing_left_to_learn(make_net, batch):
    student, teacher = make_net(16), make_net(16)
    loss = Distillation(teacher, temperature=3.0)(student, batch)["distillation"].sum
    loss.backward()
    assert abs(loss.item()) < 1e-4
    assert all(p.grad.norm() < 1e-4 for p in student.parameters())
    mixed = Distillation(teacher, hard=0.5)(student, batch)["distillation"].sum
    torch.testing.assert_close(mixed, 0.5 * NextToken()(student, batch)["next_token"].sum, rtol=1e-6, atol=0)


def test_bf16_states(make_net, batch):
    student, teacher = make_net(16), make_net(24)
    exact = Distillation(teacher, temperature=2.0)(student, batch)["distillation"].sum
    student.compute_dtype = teacher.compute_dtype = torch.bfloat16
    loss = Distillation(teacher, temperature=2.0)(student, batch)["distillation"].sum
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.03, atol=0)  # bf16 keeps 8 bits


def test_neither_sides_logits_exist_at_once():
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            self.numbers = max([self.numbers, *(x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor))])
            return out

    N, V = 8192, 4096
    student, teacher = torch.randn(N, 4, requires_grad=True), torch.randn(N, 6)
    ours, theirs = Readout(torch.randn(V, 4, requires_grad=True)), Readout(torch.randn(V, 6))
    targets, keep = torch.zeros(N, dtype=torch.int64), torch.ones(N, dtype=torch.bool)
    with Largest() as made:
        chunked_divergence(student, ours, teacher, theirs, targets, keep, temperature=2.0, hard=0.5).backward()
    assert made.numbers < N * V / 4


def test_parts_and_nothing(make_net, batch, parts_sum_to_the_whole, counts_for_nothing):
    objective, net = Distillation(make_net(24), temperature=2.0, hard=0.2), make_net(16)
    parts_sum_to_the_whole(objective, net, batch)
    counts_for_nothing(objective, net, {**batch, "keep": torch.zeros_like(batch["keep"])})


def test_what_can_not_be_distilled_is_named(make_net, batch):
    with pytest.raises(InputError, match="the student tells 53 tokens apart and its teacher 60"):
        Distillation(make_net(16, 60))(make_net(16), batch)
    with pytest.raises(RecipeError, match="a temperature of 0"):
        Distillation(make_net(16), temperature=0)
    with pytest.raises(RecipeError, match="1 as the share of the hard loss"):
        Distillation(make_net(16), hard=1)


def test_the_teacher_teaches_as_it_was_evaluated(make_net):
    teacher = make_net(16).train()
    Distillation(teacher)
    assert not any(module.training for module in teacher.modules())
