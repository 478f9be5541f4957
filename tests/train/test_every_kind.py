"""Every kind of model goes through the one loop: a step is the same step however it is computed.

Losses, norms, gradients of the first step (after clipping), parameters after three and validation losses against the
same in one process and one piece, eagerly, fp32. Rows supervise from none to all of their tokens.
"""

from __future__ import annotations

import functools

import pytest
from kinds_case import KINDS, launch, run

UNCUT = {
    "relative positions": "is a table of learned relative positions of all heads, which ranks can't share",
    "two stacks": "is attention to an encoder's states, which ranks can't share",
}

LOOSE = {"recurrent": 3e-4, "relative positions": 3e-5}
"""24 turns of an LSTM and gates make more of a last bit than attention does, and attention that isn't scaled more than
attention that is."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    return functools.cache(lambda name: run(KINDS[name], folder))


def assert_equal(found, expected, tolerance):
    """Every tensor within `tolerance` of the other, relative to its own norm, or to a hundredth of the whole gradient's
    where it is a gradient of nothing but rounding."""
    assert found.keys() == expected.keys()
    floor = 0.01 * float(expected["norm"].max())
    for name in expected.keys() - {"graphs"}:
        error, size = float((found[name] - expected[name]).norm()), float(expected[name].norm())
        least = floor if name.startswith("gradient") else 0.0
        assert error <= tolerance * max(size, least, 1e-6), f"{name}: off by {error:.1e} of {size:.1e}"


@pytest.mark.parametrize("name", KINDS)
def test_everything_that_requires_a_gradient_gets_one(plain, name):
    found = plain(name)
    parts = ("gradient ", "parameter ")
    gradients, parameters = ({n.removeprefix(p) for n in found if n.startswith(p)} for p in parts)
    states = {n for n in parameters if n.endswith(("router.bias", "logit_bias"))}
    assert gradients == parameters - states
    assert all(found[f"gradient {n}"].any() for n in gradients)


@pytest.mark.parametrize("name", KINDS)
def test_micro_batches(plain, tmp_path, name):
    assert_equal(run(KINDS[name], tmp_path, micro_batch=4), plain(name), LOOSE.get(name, 1e-5))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return launch(1, KINDS, tmp_path_factory.mktemp("two"))


@pytest.mark.parametrize("name", KINDS)
def test_two_data_ranks(plain, two, name):
    assert_equal(two[name], plain(name), LOOSE.get(name, 1e-5))


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    return launch(2, KINDS, tmp_path_factory.mktemp("cut"))


@pytest.mark.parametrize("name", KINDS)
def test_two_tensor_ranks(plain, cut, name):
    """Equal, or refused by the name of what can't be cut."""
    if name in UNCUT:
        assert UNCUT[name] in bytes(cut[name]["error"].tolist()).decode()
    else:
        assert_equal(cut[name], plain(name), LOOSE.get(name, 1e-5))


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_compiled(plain, tmp_path, compiler_works, name):
    """And nothing is compiled again once every shape has been seen."""
    found = run(KINDS[name], tmp_path, compiled=True)
    first, last = found["graphs"].tolist()
    assert first > 0
    assert last == first
    assert_equal(found, plain(name), LOOSE.get(name, 1e-5))
