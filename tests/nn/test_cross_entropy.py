"""Cross-entropy in chunks against torch's own on all logits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bedplate.nn import chunked_loss as module
from bedplate.nn.cross_entropy import (
    _fusible_softmax,
    chunked_cross_entropy,
    compiled_softmax,
    softmax,
    token_cross_entropy,
)
from bedplate.nn.head import Readout
from bedplate.nn.linear import Embedding


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_CHUNK", 16)
    monkeypatch.setattr(module, "CHUNK_LOGITS", 1)


def _case(shape: tuple[int, ...] = (3, 35), D: int = 24, V: int = 101) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(*shape, D, generator=g), torch.randn(V, D, generator=g)
    targets = torch.randint(0, V, shape, generator=g)
    return hidden.requires_grad_(), weight.requires_grad_(), targets, torch.rand(shape, generator=g) < 0.8


def _whole(hidden: Tensor, weight: Tensor, targets: Tensor, keep: Tensor) -> Tensor:
    logits = F.linear(hidden, weight).flatten(0, -2)
    return F.cross_entropy(logits, targets.flatten().where(keep.flatten(), -100), reduction="sum")


def _chunked(hidden: Tensor, weight: Tensor, *rest: Any, **options: Any) -> Tensor:
    return chunked_cross_entropy(hidden, Readout(weight), *rest, **options)


def _gradients(f: Callable[..., Tensor], hidden: Tensor, weight: Tensor, *rest: Any) -> list[Tensor]:
    loss = f(hidden, weight, *rest)
    return [loss.detach(), *torch.autograd.grad(loss / 7, (hidden, weight))]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("shape", [(1,), (16,), (17,), (3, 35), (2, 4, 9)])
def test_loss_and_gradients_equal_torch(shape: tuple[int, ...]) -> None:
    case = _case(shape)
    for a, b in zip(_gradients(_chunked, *case), _gradients(_whole, *case), strict=True):
        # fp32 rounding of sums of up to a hundred terms.
        assert (a - b).norm() <= 1e-6 * b.norm()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 30), st.integers(2, 40), st.integers(1, 12), st.integers(0, 1000))
def test_loss_is_the_same_for_every_chunk(N: int, D: int, V: int, chunk: int, seed: int) -> None:
    hidden, weight, targets, keep = _case((N,), D, V)
    keep = torch.rand(N, generator=torch.Generator().manual_seed(seed)) < 0.5
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MIN_CHUNK", chunk)
        patch.setattr(module, "CHUNK_LOGITS", 1)
        ours = _gradients(_chunked, hidden, weight, targets, keep)
    for a, b in zip(ours, _gradients(_whole, hidden, weight, targets, keep), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("small_chunks")
def test_what_is_not_kept_counts_for_nothing() -> None:
    hidden, weight, targets, keep = _case()
    loss, to_hidden, _ = _gradients(_chunked, hidden, weight, targets, keep)
    assert (to_hidden[~keep] == 0).all()
    other = (targets + 1) % 101
    assert torch.equal(loss, _chunked(hidden, weight, targets.where(keep, other), keep))
    nothing = _gradients(_chunked, hidden, weight, targets, torch.zeros_like(keep))
    assert all((x == 0).all() for x in nothing)


@pytest.mark.usefixtures("small_chunks")
def test_a_tied_head_gets_the_gradient_of_both_uses() -> None:
    _, _, targets, keep = _case()
    tokens = targets.roll(1)

    def gradient(loss: Callable[..., Tensor]) -> Tensor:
        embed = Embedding(101, 24)
        with torch.no_grad():
            embed.weight.copy_(_case()[1])
        (g,) = torch.autograd.grad(loss(embed(tokens).tanh(), embed.weight, targets, keep), embed.weight)
        return g

    ours, theirs = gradient(_chunked), gradient(_whole)
    assert (ours - theirs).norm() <= 1e-6 * theirs.norm()
    # Both uses matter: rows that are only read get a gradient through the head, and the other way round.
    hidden_only = _gradients(_whole, *_case())[2]
    assert (ours - hidden_only).norm() > 1e-2 * theirs.norm()


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("frozen", ["hidden", "weight"])
def test_gradients_only_where_they_are_asked_for(frozen: str) -> None:
    hidden, weight, targets, keep = _case()
    expected = dict(zip(("hidden", "weight"), _gradients(_whole, hidden, weight, targets, keep)[1:], strict=True))
    asked = {"hidden": hidden, "weight": weight}
    asked.pop(frozen).requires_grad_(False)
    ((name, leaf),) = asked.items()
    (ours,) = torch.autograd.grad(_chunked(hidden, weight, targets, keep) / 7, leaf)
    assert (ours - expected[name]).norm() <= 1e-6 * expected[name].norm()


@pytest.mark.usefixtures("small_chunks")
def test_bf16_states_with_an_fp32_head() -> None:
    hidden, weight, targets, keep = _case((2000,))
    rounded = hidden.detach().bfloat16().requires_grad_()
    loss, to_hidden, to_weight = _gradients(_chunked, rounded, weight, targets, keep)
    assert (loss.dtype, to_hidden.dtype, to_weight.dtype) == (torch.float32, torch.bfloat16, torch.float32)
    exact = _gradients(_whole, hidden, weight, targets, keep)
    # bf16 keeps 8 bits; logits of up to 20 round by 0.04, which a sum over 1,600 tokens averages out.
    assert abs(loss - exact[0]) < 2e-3 * exact[0]
    for a, b in zip((to_hidden, to_weight), exact[1:], strict=True):
        assert (a.float() - b).norm() < 0.03 * b.norm()
    # No systematic factor: the loss's own factor (1/7 is 0.1% off in bf16) is applied in fp32.
    half = torch.autograd.grad(_chunked(rounded, weight, targets, keep), rounded)[0].float() / 7
    assert abs(to_hidden.float().norm() / half.norm() - 1) < 2e-4


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("confidence", [8.0, 16.0])
def test_tokens_that_are_nearly_learnt_keep_their_gradient_in_bf16(confidence: float) -> None:
    """p of the target is 0.98, then 0.99999: bf16's nearest below 1 is 0.996."""
    weight = torch.eye(64).bfloat16().float()
    targets = torch.arange(64)
    hidden = (weight * confidence).bfloat16().requires_grad_()
    (ours,) = torch.autograd.grad(_chunked(hidden, weight, targets, torch.ones(64, dtype=torch.bool)), hidden)
    exact = hidden.detach().float().requires_grad_()
    (theirs,) = torch.autograd.grad(F.cross_entropy(exact @ weight.T, targets, reduction="sum"), exact)
    # bf16's own 2^-9 for each of 64 terms, none larger than the target's.
    torch.testing.assert_close(ours.float(), theirs, rtol=2**-7, atol=0)


FORMS = {"separate": softmax, "fusible": _fusible_softmax}
if shutil.which(os.environ.get("CXX", "g++")):
    FORMS["compiled"] = lambda *given: compiled_softmax()(*given)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_softmax_is_that_of_torch(form: str, dtype: torch.dtype) -> None:
    logits = (torch.randn(40, 101, generator=torch.Generator().manual_seed(0)) * 4).to(dtype)
    # Rows where all is certain, where it is certainly wrong, and with values that overflow exp() as they are.
    logits[0, 7], logits[1, 8], logits[2] = 60.0, 60.0, 200.0
    targets = torch.arange(40)[:, None] + 7
    log_p, p = FORMS[form](logits, targets, None, 0.0)
    exact = logits.double().log_softmax(-1)
    assert (log_p.shape, log_p.dtype, p.dtype) == ((40, 1), torch.float32, dtype)
    torch.testing.assert_close(log_p.double(), exact.gather(1, targets), rtol=1e-5, atol=1e-5)
    # Each probability to its own format's precision, however small it is.
    relative = 1e-4 if dtype == torch.float32 else 2**-8
    torch.testing.assert_close(p.double(), exact.exp(), rtol=relative, atol=1e-12)


ODD = {
    "bias": {"bias": True},
    "cap": {"softcap": 3.0},
    "z-loss": {"z_loss": 0.02},
    "bias, cap": {"bias": True, "softcap": 3.0},
    "bias, z-loss": {"bias": True, "z_loss": 0.02},
    "bias, cap, z-loss": {"bias": True, "softcap": 3.0, "z_loss": 0.02},
}


def _odd_case(bias: bool = False, softcap: float | None = None, z_loss: float = 0.0) -> tuple[Any, ...]:
    hidden, weight, targets, keep = _case()
    made = torch.randn(101, generator=torch.Generator().manual_seed(1)).requires_grad_() if bias else None
    return hidden, Readout(weight, made, softcap), targets, keep, z_loss


def _definition(hidden: Tensor, readout: Readout, targets: Tensor, keep: Tensor, z_loss: float) -> Tensor:
    """In float64, by torch's own derivatives."""
    logits = F.linear(hidden.double(), readout.weight.double(), None if readout.bias is None else readout.bias.double())
    if readout.softcap is not None:
        logits = readout.softcap * torch.tanh(logits / readout.softcap)
    z = logits.logsumexp(-1)
    losses = z - logits.gather(-1, targets[..., None])[..., 0] + z_loss * z.square()
    return losses[keep].sum()


def _all_gradients(loss: Tensor, hidden: Tensor, readout: Readout) -> list[Tensor]:
    wanted = [x for x in (hidden, readout.weight, readout.bias) if x is not None]
    return [loss.detach(), *torch.autograd.grad(loss / 7, wanted)]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", ODD)
def test_bias_cap_and_z_loss_equal_their_definition(case: str, form: str) -> None:
    hidden, readout, targets, keep, z = _odd_case(**ODD[case])
    ours = chunked_cross_entropy(hidden, readout, targets, keep, FORMS[form], z_loss=z)
    theirs = _definition(hidden, readout, targets, keep, z)
    for a, b in zip(_all_gradients(ours, hidden, readout), _all_gradients(theirs, hidden, readout), strict=True):
        # fp32's own rounding, in sums of up to a hundred terms.
        assert (a - b).norm() <= 1e-6 * b.norm()
    with torch.no_grad():
        alone = chunked_cross_entropy(hidden, readout, targets, keep, z_loss=z)
        each = token_cross_entropy(hidden, readout, targets)
    torch.testing.assert_close(alone, ours, rtol=1e-6, atol=0)
    plain = chunked_cross_entropy(hidden, readout, targets, keep)
    torch.testing.assert_close(each[keep].sum(), plain, rtol=1e-6, atol=0)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", ODD)
def test_bias_cap_and_z_loss_in_bf16(case: str, form: str) -> None:
    hidden, readout, targets, keep, z = _odd_case(**ODD[case])
    exact = _all_gradients(_definition(hidden, readout, targets, keep, z), hidden, readout)
    rounded = hidden.detach().bfloat16().requires_grad_()
    loss = chunked_cross_entropy(rounded, readout, targets, keep, FORMS[form], z_loss=z)
    ours = _all_gradients(loss, rounded, readout)
    assert [x.dtype for x in ours] == [torch.float32, torch.bfloat16, *[torch.float32] * (len(ours) - 2)]
    assert abs(ours[0] - exact[0]) < 2e-3 * exact[0]
    for a, b in zip(ours[1:], exact[1:], strict=True):
        # bf16 keeps 8 bits: 0.4% of each of the numbers, more of logits of 20.
        assert (a.float() - b).norm() < 0.03 * b.norm()


@pytest.mark.parametrize("form", FORMS)
def test_a_small_z_loss_is_not_rounded_away_in_bf16(form: str) -> None:
    """PaLM's 1e-4 moves a slope by 0.2%, half of a bf16 step: it is applied before numbers are rounded."""
    V, z = 4096, 1e-4
    logits = torch.randn(64, V, generator=torch.Generator().manual_seed(0)).bfloat16()
    slope = FORMS[form](logits, torch.zeros(64, 1, dtype=torch.int64), None, z)[1].double()
    wide = logits.double()
    factor = 1 + 2 * z * wide.logsumexp(-1, keepdim=True)
    # What 4,096 roundings of up to 0.2% leave of a systematic factor.
    torch.testing.assert_close(slope.sum(-1, keepdim=True), factor, rtol=3e-4, atol=0)


def test_all_logits_never_exist_at_once(largest_tensor) -> None:
    N, V = 8192, 4096
    hidden, weight, targets, keep = _case((N,), 4, V)
    with largest_tensor() as made:
        _chunked(hidden, weight, targets, keep).backward()
        token_cross_entropy(hidden, Readout(weight), targets)
    assert made.numbers < N * V / 4
    with largest_tensor() as made:
        _whole(hidden, weight, targets, keep)
    assert made.numbers == N * V


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_token_loss_equals_torch(dtype: torch.dtype) -> None:
    hidden, weight, targets, _ = _case((2, 50))
    hidden = hidden.detach().to(dtype)
    each = token_cross_entropy(hidden, Readout(weight), targets)
    logits = F.linear(hidden, weight.detach().to(dtype)).float()
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(2, 50)
    assert each.dtype == torch.float32
    assert not each.requires_grad
    # bf16: a product of another height may round a logit of 20 to its neighbour, 2^-7 of 16 away.
    torch.testing.assert_close(each, expected, rtol=1e-6, atol=1e-5 if dtype == torch.float32 else 0.15)
    kept = torch.ones_like(targets, dtype=torch.bool)
    assert torch.isclose(each.sum(), _chunked(hidden, weight.detach(), targets, kept), rtol=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.floats(0, 1), st.integers(1, 40), st.integers(0, 1000))
def test_picking_out_the_kept_positions_changes_nothing(N: int, share: float, chunk: int, seed: int) -> None:
    hidden, weight, targets, _ = _case((N,), 8, 23)
    keep = torch.rand(N, generator=torch.Generator().manual_seed(seed)) < share
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MIN_CHUNK", chunk)
        patch.setattr(module, "CHUNK_LOGITS", 1)
        patch.setattr(module, "SHORTEST_CHUNK", min(4, chunk))
        ours = _gradients(_chunked, hidden, weight, targets, keep)
        patch.setattr(module, "WORTH_COPYING", -1.0)
        all_of_them = _gradients(_chunked, hidden, weight, targets, keep)
    for a, b in zip(ours, all_of_them, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)  # the same terms, cut into other chunks
    assert (ours[1][~keep] == 0).all()


@pytest.mark.parametrize("kept", [0, 1, 30, 1000])
def test_only_the_kept_positions_are_computed(kept: int) -> None:
    N, V = 4096, 512
    hidden, weight, targets, _ = _case((N,), 8, V)
    keep = torch.zeros(N, dtype=torch.bool)
    keep[torch.randperm(N, generator=torch.Generator().manual_seed(1))[:kept]] = True
    lengths: list[int] = []

    def counted(logits: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        lengths.append(len(logits))
        return softmax(logits, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_LOGITS", 256 * V)
        _chunked(hidden, weight, targets, keep, counted)
    assert kept <= sum(lengths) <= max(2 * kept, 16)
    # A compiled softmax is compiled for each length: there are few.
    assert set(lengths) <= {16, 32, 64, 128, 256}
