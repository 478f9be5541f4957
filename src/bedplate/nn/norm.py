"""Normalisation: RMSNorm (Zhang and Sennrich 2019, arXiv 1910.07467), LayerNorm (Ba et al. 2016, arXiv 1607.06450)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bedplate.nn.parameters import ParameterInfo, Role


@dataclass(frozen=True)
class RMSNorm:
    """x / rms(x) * (offset + gain) over the last axis; statistics in fp32, the result in x's dtype.

    offset: 1 where gains are kept as their distance from 1 (Gemma), which 16 bits hold more finely.
    """

    eps: float = 1e-6
    offset: float = 0.0

    def build(self, width: int, *, per_head: bool = False) -> RMSNormLayer:
        return RMSNormLayer(width, self.eps, self.offset, per_head=per_head)


@dataclass(frozen=True)
class LayerNorm:
    """(x - mean(x)) / std(x) * gain + bias over the last axis."""

    eps: float = 1e-5
    bias: bool = True

    def build(self, width: int, *, per_head: bool = False) -> LayerNormLayer:
        return LayerNormLayer(width, self.eps, bias=self.bias, per_head=per_head)


Norm = RMSNorm | LayerNorm


class _NormLayer(nn.Module):
    weight: nn.Parameter
    bias: nn.Parameter | None
    gain_role: Role = "norm"

    def __init__(self, width: int, eps: float, *, bias: bool, per_head: bool) -> None:
        super().__init__()
        self.eps, self.per_head = eps, per_head
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def parameter_info(self) -> dict[str, ParameterInfo]:
        width = self.weight.shape[0]
        info = {"weight": ParameterInfo(self.gain_role, 1, width, partial_gradient=self.per_head)}
        if self.bias is not None:
            info["bias"] = ParameterInfo("bias", 1, width, partial_gradient=self.per_head)
        return info


class RMSNormLayer(_NormLayer):
    def __init__(self, width: int, eps: float, offset: float = 0.0, *, per_head: bool = False) -> None:
        super().__init__(width, eps, bias=False, per_head=per_head)
        self.offset = offset
        if offset:
            # It starts at 0 and is decayed no more than a gain is: what a bias is to initialisation and optimisers.
            self.gain_role = "bias"
            nn.init.zeros_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        scaled = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        if self.offset:
            return (scaled * (self.offset + self.weight.float())).to(x.dtype)
        return self.weight.to(x.dtype) * scaled.to(x.dtype)


class LayerNormLayer(_NormLayer):
    def __init__(self, width: int, eps: float, *, bias: bool = True, per_head: bool = False) -> None:
        super().__init__(width, eps, bias=bias, per_head=per_head)

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.layer_norm(x, x.shape[-1:], self.weight.to(x.dtype), bias, self.eps)
