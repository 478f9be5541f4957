"""Measured rates are of the right size and shape, short, and leave torch's threads as they were."""

import time

import pytest
import torch

from bedplate.machine.measure import Rate, matrix_rates, measured_matrix_rate, memory_bandwidth


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_rate(dtype):
    begun = time.perf_counter()
    rate = measured_matrix_rate(dtype, seconds=0.1)
    assert time.perf_counter() - begun < 10  # a slow CPU's three repeats; a fifth of a second here
    assert rate.dtype == str(dtype).removeprefix("torch.")
    assert 0 < rate.lowest <= rate.median <= rate.highest < 1e7
    assert rate.repeats >= 3
    assert rate.threads == torch.get_num_threads()


def test_the_share_is_of_the_highest():
    rate = Rate("float32", "cpu", 2, (1, 1, 1), median=80, lowest=50, highest=100, repeats=3)
    assert rate.share(50e9) == 0.5


def test_each_shape_is_timed():
    rates = matrix_rates(torch.float32, seconds=0.0, shapes=(("small", (8, 16, 4)), ("flat", (64, 2, 3))))
    assert {name: rate.shape for name, rate in rates.items()} == {"small": (8, 16, 4), "flat": (64, 2, 3)}
    assert all(rate.repeats == 3 for rate in rates.values())


def test_bandwidth_by_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = memory_bandwidth(seconds=0.0, bytes_each=4 << 20)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert [(b.what, b.threads) for b in found] == [("read", 1), ("copy", 1), ("read", 2), ("copy", 2)]
    assert all(0 < b.lowest <= b.median <= b.highest for b in found)
