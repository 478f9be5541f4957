"""The product for fp32 training on a CPU: the gradients of torch's own, for every shape and layout, and the same bits
every time."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bedplate.machine.probe import compiler, python_headers
from bedplate.nn.linear import Linear
from bedplate.nn.products import LARGE, ROWS, linear

SIDE = 2048
assert SIDE * SIDE >= LARGE


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


# name -> x, weight, bias
CASES = {
    "odd sizes": (numbers(4, 33, 17), numbers(29, 17), numbers(29)),
    "no bias": (numbers(61, 17), numbers(29, 17), None),
    "one feature": (numbers(64, 1), numbers(1, 1), numbers(1)),
    "one output": (numbers(64, 17), numbers(1, 17), numbers(1)),
    "transposed rows": (numbers(17, 64).t(), numbers(29, 17), numbers(29)),
    "heads turned": (numbers(2, 5, 7, 17).transpose(1, 2), numbers(29, 17), None),
    "expanded": (numbers(1, 1, 17).expand(4, 9, 17), numbers(29, 17), numbers(29)),
    "every second number": (numbers(4, 33, 34)[..., ::2], numbers(29, 17), numbers(29)),
    "a slice of rows": (numbers(64, 40)[:, 3:20], numbers(29, 17), numbers(29)),
    "a transposed weight": (numbers(64, 17), numbers(17, 29).t(), numbers(29)),
    "a slice of a weight": (numbers(64, 17), numbers(29, 40)[:, 5:22], numbers(29)),
    "an expanded bias": (numbers(64, 17), numbers(29, 17), numbers(1).expand(29)),
    "fewer rows than are worth it": (numbers(ROWS - 1, 17), numbers(29, 17), numbers(29)),
    "no rows": (numbers(0, 17), numbers(29, 17), numbers(29)),
    "no rows, in three dimensions": (numbers(4, 0, 17), numbers(29, 17), numbers(29)),
    "no rows of a large matrix": (numbers(0, SIDE), numbers(SIDE, SIDE), numbers(SIDE)),
    "one row of a large matrix": (numbers(SIDE), numbers(SIDE, SIDE), numbers(SIDE)),
    "no features": (numbers(64, 0), numbers(29, 0), numbers(29)),
    "no outputs": (numbers(64, 17), numbers(0, 17), None),
}


def trained(product, x: Tensor, weight: Tensor, bias: Tensor | None, *, frozen=(), slope: Tensor | None = None):
    """Output, and the gradients of x, weight and bias; None where frozen."""
    # detach: a leaf with the case's own strides.
    leaves = [
        None if t is None else t.detach().requires_grad_(n not in frozen)
        for n, t in zip("xwb", (x, weight, bias), strict=True)
    ]
    out = product(*leaves)
    out.backward(torch.ones(()).expand_as(out) if slope is None else slope)
    return [out.detach(), *(None if t is None else t.grad for t in leaves)]


def assert_close(found, expected):
    """1e-5 of the tensor's norm: fp32 sums of up to 2048 products, taken in another order."""
    for ours, theirs in zip(found, expected, strict=True):
        if theirs is None:
            assert ours is None
        else:
            assert ours.shape == theirs.shape
            assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


@pytest.mark.parametrize("case", CASES)
def test_gradients(case):
    assert_close(trained(linear, *CASES[case]), trained(F.linear, *CASES[case]))


@pytest.mark.parametrize("case", ["odd sizes", "transposed rows", "a slice of a weight", "one feature"])
def test_gradients_of_slopes_that_are_not_laid_out_in_order(case):
    x, weight, bias = CASES[case]
    shape = F.linear(x, weight, bias).shape
    slope = numbers(*shape[::-1]).permute(*reversed(range(len(shape))))
    assert_close(trained(linear, x, weight, bias, slope=slope), trained(F.linear, x, weight, bias, slope=slope))


@pytest.mark.parametrize("frozen", ["w", "x", "b", "wb", "xb", "xw"])
def test_what_is_frozen_gets_none(frozen):
    case = CASES["odd sizes"]
    found = trained(linear, *case, frozen=frozen)
    assert [g is None for g in found[1:]] == [n in frozen for n in "xwb"]
    assert_close(found, trained(F.linear, *case, frozen=frozen))


def test_all_frozen_needs_no_graph():
    assert not linear(*CASES["odd sizes"]).requires_grad


def test_the_same_bits_wherever_the_numbers_lie():
    """Resumed runs are bit-identical: neither a run before nor the place in memory may change a result."""
    x, weight, bias = numbers(96, 161), numbers(77, 161), numbers(77)
    expected = trained(linear, x, weight, bias)
    for offset in range(1, 20):
        moved = []
        for t in (x, weight, bias):
            room = torch.empty(t.numel() + offset)
            moved.append(room[offset:].view(t.shape).copy_(t))
        assert all(torch.equal(a, b) for a, b in zip(trained(linear, *moved), expected, strict=True))


def test_a_change_in_place_before_the_backward_pass_is_found():
    weight = numbers(29, 17).requires_grad_()
    out = linear(numbers(64, 17), weight, None)
    with torch.no_grad():
        weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_it_differentiates_once():
    x = numbers(64, 17).requires_grad_()
    (slope,) = torch.autograd.grad(linear(x, numbers(29, 17), None).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_compiled():
    """Inside a compiled region it is torch's product, with gradients and without; both give the same."""
    if not (compiler().works and python_headers()):
        pytest.skip("nothing to compile with")
    layer = Linear(17, 29, bias=True)
    with torch.no_grad():
        layer.weight.copy_(numbers(29, 17))
    x = numbers(64, 17)
    slopes = []
    for call in (layer, torch.compile(layer, dynamic=False, fullgraph=True)):
        layer.zero_grad()
        call(x).square().sum().backward()
        slopes.append([p.grad.clone() for p in layer.parameters()])
        with torch.no_grad():
            slopes[-1].append(call(x))
    assert_close(*slopes)
