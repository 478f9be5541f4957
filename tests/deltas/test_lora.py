"""The LoRA layer itself: what is shared, what is trained, what it computes, in which dtype."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from peft_case import Base, off
from torch import Tensor

from bedplate.deltas.adapter import adapted, save_adapter
from bedplate.deltas.lora import LoraConfig, LoraLinear, add_lora, linear_paths
from bedplate.deltas.places import module_paths
from bedplate.deltas.sharing import sharing_copy
from bedplate.errors import InputError
from bedplate.nn.cross_entropy import chunked_cross_entropy
from bedplate.nn.linear import Linear
from bedplate.nn.parameters import parameter_table


def _layer(
    in_features: int, out_features: int, rank: int, *, bias: bool = True, dropout: float = 0.0, seed: int = 0
) -> LoraLinear:
    generator = torch.Generator().manual_seed(seed)
    base = Linear(in_features, out_features, bias=bias)
    base.requires_grad_(False)
    layer = LoraLinear(base, rank, 1.75, dropout)
    for parameter in layer.parameters():
        parameter.data.normal_(generator=generator)
    return layer


def _definition(layer: LoraLinear, x: Tensor) -> Tensor:
    a, b = layer.lora_a.to(x.dtype), layer.lora_b.to(x.dtype)
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    return F.linear(x, layer.weight.to(x.dtype), bias) + layer.scale * F.linear(F.linear(x, a), b)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.booleans(), st.lists(st.integers(1, 6), max_size=3)
)
def test_values_and_gradients_are_the_definition_s(
    inside: int, outside: int, rank: int, bias: bool, shape: list[int]
) -> None:
    layer = _layer(inside, outside, rank, bias=bias).double()
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(*shape, inside, generator=generator, dtype=torch.float64, requires_grad=True)
    way = torch.randn(*shape, outside, generator=generator, dtype=torch.float64)
    wanted = [x, layer.lora_a, layer.lora_b]
    ours, expected = layer(x), _definition(layer, x)
    torch.testing.assert_close(ours, expected)
    for a, b in zip(torch.autograd.grad(ours, wanted, way), torch.autograd.grad(expected, wanted, way), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("frozen", ["x", "lora_a", "lora_b"])
def test_gradients_only_where_they_are_asked_for(frozen: str) -> None:
    layer = _layer(12, 7, 3)
    leaves = {"x": torch.randn(5, 12, requires_grad=True), "lora_a": layer.lora_a, "lora_b": layer.lora_b}
    leaves[frozen].requires_grad_(False)
    layer(leaves["x"]).square().sum().backward()
    assert {name for name, leaf in leaves.items() if leaf.grad is None} == {frozen}


def test_a_base_that_is_trained_too_gets_its_gradient() -> None:
    layer, x = _layer(12, 7, 3), torch.randn(5, 12)
    layer.weight.requires_grad_(True)
    layer(x).square().sum().backward()
    given = layer.weight.grad
    (expected,) = torch.autograd.grad(_definition(layer, x).square().sum(), layer.weight)
    torch.testing.assert_close(given, expected)


def test_bf16_activations_with_fp32_factors() -> None:
    layer, exact = _layer(256, 128, 8), _layer(256, 128, 8)
    layer.weight.data = layer.weight.data.bfloat16()
    x = torch.randn(64, 256, generator=torch.Generator().manual_seed(2))
    ours, expected = layer(x.bfloat16()), exact(x)
    assert ours.dtype == torch.bfloat16
    assert off(ours.float(), expected) < 2e-2  # bf16 keeps 8 bits, and intermediate sums are rounded to it
    ours.float().square().mean().backward()
    expected.square().mean().backward()
    for a, b in ((layer.lora_a, exact.lora_a), (layer.lora_b, exact.lora_b)):
        assert a.grad.dtype == torch.float32
        assert (a.grad - b.grad).norm() < 2e-2 * b.grad.norm()


def test_everything_but_the_delta_is_frozen_and_named_as_before(base: Base) -> None:
    model = base.ours()
    before = {name: p.data_ptr() for name, p in model.net.named_parameters()}
    delta = add_lora(model.net, LoraConfig(rank=3), torch.Generator().manual_seed(0))
    named = dict(model.net.named_parameters())
    assert {name: named[name].data_ptr() for name in before} == before
    assert named.keys() - before.keys() == delta.parameters().keys()
    assert {name for name, p in named.items() if p.requires_grad} == delta.parameters().keys()
    assert all(p.dtype == torch.float32 for p in delta.parameters().values())
    # Heads and embeddings are used by their weight alone, so a delta on them would say nothing.
    assert len(delta.layers) == len(linear_paths(model.net)) == 3 * (6 if base.kind == "bert" else 7)


def test_the_parameter_table_knows_every_factor(base: Base) -> None:
    model = base.ours()
    delta = add_lora(model.net, LoraConfig(rank=3), torch.Generator())
    table = parameter_table(model.net)
    assert table.keys() == dict(model.net.named_parameters()).keys()
    for path, layer in delta.layers.items():
        a, b = table[f"{path}.lora_a"], table[f"{path}.lora_b"]
        assert (a.role, a.fan_in, a.fan_out) == ("hidden", layer.in_features, 3)
        assert (b.role, b.fan_in, b.fan_out) == ("hidden", 3, layer.out_features)


def test_targets_are_the_ends_of_hugging_face_paths(base: Base) -> None:
    model = base.ours()
    targets = ("query", "attention.output.dense") if base.kind == "bert" else ("q_proj", "self_attn.o_proj")
    delta = add_lora(model.net, LoraConfig(targets=targets), torch.Generator(), paths=module_paths(model))
    assert delta.layers.keys() == {f"blocks.{i}.0.sublayer.{x}" for i in range(3) for x in "qo"}
    with pytest.raises(InputError, match="has a LoRA delta already"):
        add_lora(model.net, LoraConfig(), torch.Generator())


def test_the_same_generator_gives_the_same_factors(llama: Base) -> None:
    def drawn(seed: int) -> Tensor:
        delta = add_lora(llama.ours().net, LoraConfig(), torch.Generator().manual_seed(seed))
        return torch.cat([p.detach().flatten() for p in delta.parameters().values()])

    before = torch.get_rng_state()
    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    assert torch.equal(torch.get_rng_state(), before)  # the global generator is nobody's business


def test_dropout_is_a_function_of_the_seed(llama: Base, tokens: Tensor) -> None:
    model = llama.ours()
    delta = add_lora(model.net, LoraConfig(dropout=0.5), torch.Generator().manual_seed(0))
    for layer in delta.layers.values():
        layer.lora_b.data.fill_(0.1)

    def answer(seed: int) -> Tensor:
        delta.seed_dropout(seed)
        return model(tokens).detach()

    still = answer(1)
    assert torch.equal(still, answer(2))  # a model that is asked drops nothing
    model.net.train()
    assert torch.equal(answer(1), answer(1))
    assert not torch.equal(answer(1), answer(2))
    assert not torch.equal(answer(1), still)


def test_dropout_keeps_the_mean() -> None:
    layer = _layer(64, 48, 4, dropout=0.3).train()
    x = torch.randn(16, 64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        mean = torch.stack([layer(x) for _ in range(3000)]).mean(0)
    # 3,000 draws: the standard error is about a fiftieth of the spread of one.
    assert (mean - _definition(layer, x)).norm() < 0.03 * _definition(layer, x).norm()


def test_adapters_on_one_base_cost_only_themselves(llama: Base, tmp_path: Path, tokens: Tensor) -> None:
    model = llama.ours()
    folders = []
    for seed in range(3):
        scratch = llama.ours()
        delta = add_lora(scratch.net, LoraConfig(rank=2), torch.Generator().manual_seed(seed))
        for layer in delta.layers.values():
            layer.lora_b.data.normal_(generator=torch.Generator().manual_seed(seed))
        save_adapter(tmp_path / str(seed), scratch, delta, base=llama.folder)
        folders.append(tmp_path / str(seed))
    plain = model(tokens)
    several = [adapted(model, folder, base=llama.folder) for folder in folders]
    storages = {p.untyped_storage().data_ptr() for p in model.net.parameters()}
    for tuned in several:
        own = [n for n, p in tuned.net.named_parameters() if p.untyped_storage().data_ptr() not in storages]
        assert all(name.endswith(("lora_a", "lora_b")) for name in own)
        assert len(own) == 2 * 21
        assert tuned.tokenizer is model.tokenizer
    answers = [tuned(tokens) for tuned in several]
    assert not torch.equal(answers[0], answers[1])
    assert torch.equal(model(tokens), plain)
    del several
    gc.collect()
    assert torch.equal(model(tokens), plain)


def test_an_adapted_net_can_be_copied_too(llama: Base, tokens: Tensor) -> None:
    model = llama.ours()
    add_lora(model.net, LoraConfig(), torch.Generator().manual_seed(0))
    other = sharing_copy(model.net)
    assert torch.equal(other(tokens), model.net(tokens))


def _losses(model: Any, tokens: Tensor) -> Tensor:
    keep = torch.ones_like(tokens[:, 1:], dtype=torch.bool)
    hidden = model.hidden(tokens)[:, :-1]
    return chunked_cross_entropy(hidden, model.net.readout, tokens[:, 1:], keep) / keep.numel()


def test_a_frozen_bf16_base_learns_as_an_fp32_one_does(llama: Base, tokens: Tensor) -> None:
    curves = []
    for dtype in ("float32", "bfloat16"):
        model = llama.ours(dtype=dtype)
        delta = add_lora(model.net, LoraConfig(rank=4, alpha=8), torch.Generator().manual_seed(0))
        optimiser = torch.optim.AdamW(delta.parameters().values(), lr=5e-3)
        curve = []
        for _ in range(30):
            optimiser.zero_grad()
            loss = _losses(model, tokens)
            loss.backward()
            optimiser.step()
            curve.append(loss.item())
        curves.append(curve)
    exact, rounded = curves
    assert exact[-1] < 0.6 * exact[0]
    assert rounded[-1] == pytest.approx(exact[-1], rel=0.1)


def test_steps_of_a_few_rows_are_steps_of_all(llama: Base, tokens: Tensor) -> None:
    """Micro-batches sum to the same gradient, because each counts by its tokens."""
    model = llama.ours()
    delta = add_lora(model.net, LoraConfig(rank=4), torch.Generator().manual_seed(0))
    parameters = list(delta.parameters().values())
    for p in parameters:
        p.data.normal_(generator=torch.Generator().manual_seed(1), std=0.1)
    whole = torch.autograd.grad(_losses(model, tokens), parameters)
    halves = [torch.autograd.grad(_losses(model, row[None]) / 2, parameters) for row in tokens]
    for a, b, c in zip(whole, *halves, strict=True):
        assert (b + c - a).norm() < 1e-5 * a.norm()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which(os.environ.get("CXX", "g++")), reason="no C++ compiler")
def test_compiled_blocks_learn_as_eager_ones_do(llama: Base, tokens: Tensor) -> None:
    gradients = []
    for compiled in (False, True):
        model = llama.ours()
        delta = add_lora(model.net, LoraConfig(rank=4), torch.Generator().manual_seed(0))
        for layer in delta.layers.values():
            layer.lora_b.data.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
        if compiled:
            for block in model.net.blocks:
                block.compile(dynamic=False)
        _losses(model, tokens).backward()
        gradients.append({name: p.grad for name, p in delta.parameters().items()})
    eager, fused = gradients
    greatest = max(g.norm() for g in eager.values())
    for name, gradient in eager.items():
        assert (fused[name] - gradient).norm() < 1e-4 * gradient.norm() + 1e-6 * greatest, name
