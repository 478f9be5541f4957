"""What every objective must keep to, as fixtures that check it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bedplate.nn.initialise import initialise

Batch = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny products only lose by sharing the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def randomised() -> Callable[[nn.Module], Any]:
    """Sets all parameters of a net at random, gains and biases too, in evaluation mode."""

    def randomise(net: nn.Module) -> nn.Module:
        initialise(net, 0)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for p in net.parameters():
                p += 0.2 * torch.randn(p.shape, generator=generator)
        return net.eval()

    return randomise


@pytest.fixture
def parts_sum_to_the_whole() -> Callable[..., None]:
    """check(objective, net, batch): rows one by one give the same sums, weights and gradients as all at once."""

    def gradients(net: nn.Module) -> list[Tensor]:
        found = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in net.parameters()]
        net.zero_grad()
        return found

    def check(objective: Any, net: nn.Module, batch: Batch) -> None:
        rows = len(batch["tokens"])
        parts = [{name: value[i : i + 1] for name, value in batch.items()} for i in range(rows)]
        weights = objective.weights(batch)
        whole = objective(net, batch)
        assert list(whole) == list(weights)
        for name, term in whole.items():
            assert term.sum.dtype == torch.float32
            assert int(weights[name]) == sum(int(objective.weights(part)[name]) for part in parts)
            term.sum.backward()
            expected = gradients(net)
            total = torch.zeros(())
            for part in parts:
                loss = objective(net, part)[name].sum
                loss.backward()
                total += loss.detach()
            # fp32 sums in another order. Some gradients are nothing but rounding (of a bias that all keys share).
            torch.testing.assert_close(total, term.sum.detach(), rtol=1e-6, atol=0)
            largest = max(b.norm() for b in expected)
            for a, b in zip(gradients(net), expected, strict=True):
                assert (a - b).norm() <= 1e-5 * torch.maximum(b.norm(), 0.01 * largest)
            whole = objective(net, batch)

    return check


@pytest.fixture
def counts_for_nothing() -> Callable[..., None]:
    """check(objective, net, batch): a batch without anything supervised weighs 0, which the loop takes as an error, and
    a part of a batch like that adds nothing."""

    def check(objective: Any, net: nn.Module, batch: Batch) -> None:
        assert all(int(w) == 0 for w in objective.weights(batch).values())
        for term in objective(net, batch).values():
            term.sum.backward()
            assert term.sum.item() == 0
        assert all(p.grad is None or not p.grad.any() for p in net.parameters())

    return check
