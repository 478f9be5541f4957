"""Optimisers: which parameters decay, Muon beside PyTorch's own, clipping beside PyTorch's own."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from training_case import BIASES, QWEN3, SHAPE, TIED

from bedplate.families import llama
from bedplate.families.llama_config import LlamaConfig
from bedplate.nn.initialise import initialise
from bedplate.nn.parameters import ParameterInfo, parameter_table
from bedplate.train.config import OptimiserConfig
from bedplate.train.optimiser import Muon, build, orthogonalised, set_learning_rate
from bedplate.train.parallel import Parallel


def whole(tensor, parameter):
    return tensor


def optimisers(architecture, **options):
    net = llama.build(LlamaConfig(**(SHAPE | architecture)))
    initialise(net, 0)
    parameters = dict(net.named_parameters())
    return parameters, build(parameters, parameter_table(net), OptimiserConfig(**options), whole, whole)


def groups(parameters, built):
    """Parameter name -> (class of its optimiser, weight decay, peak)."""
    names = {id(p): name for name, p in parameters.items()}
    found = [
        (names[id(p)], (type(o).__name__, group["weight_decay"], group["peak"]))
        for o in built
        for group in o.param_groups
        for p in group["params"]
    ]
    assert len(found) == len(parameters), "each parameter in one group"
    return dict(found)


@pytest.mark.parametrize("architecture", [{}, TIED | BIASES, QWEN3], ids=["llama", "tied biases", "qwen3"])
@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_matrices_and_an_untied_head_decay_and_nothing_else(architecture, name):
    found = groups(*optimisers(architecture, name=name, weight_decay=0.3, learning_rate=0.02))
    for parameter, (kind, decay, peak) in found.items():
        matrix = ".sublayer." in parameter and parameter.endswith(".weight") and "_norm" not in parameter
        assert decay == (0.3 if matrix or parameter == "head.weight" else 0.0), parameter
        assert kind == ("Muon" if matrix and name == "muon" else "AdamW"), parameter
        assert peak == 0.02
    assert ("head.weight" in found) == (not architecture.get("tie_word_embeddings"))


def test_every_group_follows_the_schedule():
    _, built = optimisers({}, name="muon", learning_rate=0.02)
    assert set_learning_rate(built, 0.25) == 0.005
    assert {group["lr"] for o in built for group in o.param_groups} == {0.005}


SHAPES = [(24, 24), (16, 48), (48, 16)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("decay", [0.0, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_muon_is_that_of_torch(shape, decay, dtype):
    """torch.optim.Muon iterates in bfloat16: its rounding, about 1%, is the tolerance."""
    torch.manual_seed(0)
    start = torch.randn(shape)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    config = OptimiserConfig(name="muon", learning_rate=0.1, momentum=0.9, weight_decay=decay)
    mine = Muon([ours], config, whole, whole, dtype)
    reference = torch.optim.Muon(
        [theirs], lr=0.1, momentum=0.9, weight_decay=decay, nesterov=True, adjust_lr_fn="match_rms_adamw"
    )
    for _ in range(4):
        gradient = torch.randn(shape)
        before = theirs.detach().clone()
        ours.data.copy_(before)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        mine.step()
        reference.step()
        tolerance = 0.02 if dtype == torch.float32 else 0.03  # two roundings
        assert (ours - theirs).norm() < tolerance * (theirs - before).norm()


def test_orthogonalised_has_singular_values_about_one():
    """The iteration's coefficients take [0.1, 1] to about [0.7, 1.2] in five steps (Jordan 2024)."""
    torch.manual_seed(0)
    for rows, columns in SHAPES:
        u, _, vt = torch.linalg.svd(torch.randn(rows, columns), full_matrices=False)
        matrix = u @ torch.diag(torch.linspace(1, 10, min(rows, columns))) @ vt * 3e-4
        out = orthogonalised(matrix)
        assert out.shape == matrix.shape
        values = torch.linalg.svdvals(out)
        assert 0.6 < values.min() <= values.max() < 1.3
        # The same singular vectors: u^T out v is diagonal.
        inner = u.t() @ out @ vt.t()
        assert (inner - torch.diag(inner.diagonal())).norm() < 1e-3


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_stack_of_matrices_is_each_by_itself(shape):
    generator = torch.Generator().manual_seed(0)
    stack = torch.randn(3, *shape, generator=generator)
    torch.testing.assert_close(orthogonalised(stack), torch.stack([orthogonalised(each) for each in stack]))
    config = OptimiserConfig(name="muon", learning_rate=0.1)
    together = nn.Parameter(torch.zeros(3, *shape))
    apart = [nn.Parameter(torch.zeros(shape)) for _ in range(3)]
    together.grad = stack.clone()
    for p, gradient in zip(apart, stack, strict=True):
        p.grad = gradient.clone()
    Muon([together], config, whole, whole).step()
    Muon(apart, config, whole, whole).step()
    torch.testing.assert_close(together.detach(), torch.stack([p.detach() for p in apart]))


@given(
    st.lists(st.tuples(st.integers(1, 7), st.integers(1, 5)), min_size=1, max_size=5),
    st.sampled_from([1e-3, 0.5, 1.0, 1e3, None]),
    st.floats(1e-6, 1e4),
)
@settings(max_examples=60, deadline=None)
def test_clipping_is_that_of_torch(shapes, most, size):
    generator = torch.Generator().manual_seed(len(shapes))
    ours = {str(i): nn.Parameter(torch.zeros(shape)) for i, shape in enumerate(shapes)}
    theirs = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for a, b in zip(ours.values(), theirs, strict=True):
        a.grad = torch.randn(a.shape, generator=generator) * size
        b.grad = a.grad.clone()
    cut = itertools.cycle([0, None, 1])
    table = {name: ParameterInfo("hidden", 1, 1, shard=next(cut)) for name in ours}
    norm = Parallel().clip(ours, table, most)
    expected = torch.nn.utils.clip_grad_norm_(theirs, float("inf") if most is None else most)
    assert torch.allclose(norm, expected, rtol=1e-5)
    for a, b in zip(ours.values(), theirs, strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=1e-5, atol=0)
