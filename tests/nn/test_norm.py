"""Norms against torch's and transformers'."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bedplate.nn.norm import LayerNorm, RMSNorm


def _gain(width: int) -> torch.Tensor:
    return torch.linspace(-1.5, 2, width)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rms_norm_equals_transformers(dtype: torch.dtype) -> None:
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    x = (torch.randn(3, 7, 24) * 5).to(dtype)
    ours, theirs = RMSNorm(1e-5).build(24), LlamaRMSNorm(24, 1e-5)
    for layer in (ours, theirs):
        layer.weight.data = _gain(24)
    theirs.to(dtype)
    out = ours(x)
    assert out.dtype == dtype
    # The same operations in the same formats; a square's mean may be summed in another order.
    torch.testing.assert_close(out, theirs(x), rtol=1e-6 if dtype == torch.float32 else 2**-7, atol=0)


def test_rms_norm_gradients_equal_torch() -> None:
    x = torch.randn(3, 7, 24, requires_grad=True)
    layer = RMSNorm(1e-5).build(24)
    layer.weight.data = _gain(24)
    grad = torch.randn(3, 7, 24)
    ours = torch.autograd.grad(layer(x), (x, layer.weight), grad)
    theirs = torch.autograd.grad(F.rms_norm(x, (24,), layer.weight, 1e-5), (x, layer.weight), grad)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_rms_norm_of_large_bf16_values_keeps_its_statistics_in_fp32() -> None:
    x = torch.full((1, 1000), 300.0).bfloat16()
    assert torch.allclose(RMSNorm().build(1000)(x).float(), torch.ones(1000), rtol=1e-2)


@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm_equals_torch(bias: bool) -> None:
    x = torch.randn(3, 7, 24)
    ours, theirs = LayerNorm(1e-5, bias=bias).build(24), torch.nn.LayerNorm(24, 1e-5, bias=bias)
    for layer in (ours, theirs):
        for parameter in layer.parameters():
            parameter.data = _gain(24)
    assert len(list(ours.parameters())) == 1 + bias
    assert torch.equal(ours(x), theirs(x))
    assert ours(x.bfloat16()).dtype == torch.bfloat16


def test_a_norm_of_heads_says_that_its_gradient_is_partial() -> None:
    assert RMSNorm().build(8, per_head=True).parameter_info()["weight"].partial_gradient
    assert not RMSNorm().build(8).parameter_info()["weight"].partial_gradient
    assert {i.role for i in LayerNorm().build(8).parameter_info().values()} == {"norm", "bias"}
