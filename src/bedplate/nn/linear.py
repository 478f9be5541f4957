"""Linear maps and embeddings that keep their own dtype and compute in their input's."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bedplate.nn.parameters import ParameterInfo, Role
from bedplate.nn.products import linear


class Linear(nn.Module):
    """y = x W^T + b, computed in x's dtype whatever the weight is stored in.

    Training keeps fp32 weights under bf16 activations; under FSDP2's mixed precision the weight has x's dtype already
    and the cast does nothing. weight [out, in], bias [out].
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = False,
        role: Role = "hidden",
        shard: int | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.role, self.shard = role, shard
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        self.reduce: Callable[[Tensor], Tensor] | None = None
        """Set by tensor parallelism on a map whose inputs are cut among ranks: adds up their parts, before the bias."""

    def parameter_info(self) -> dict[str, ParameterInfo]:
        info = {"weight": ParameterInfo(self.role, self.in_features, self.out_features, self.shard)}
        if self.bias is not None:
            # A row-parallel map adds its bias once, after the ranks' parts are summed: every rank holds all of it.
            info["bias"] = ParameterInfo("bias", 1, self.out_features, 0 if self.shard == 0 else None)
        return info

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        if self.reduce is None:
            return linear(x, self.weight.to(x.dtype), bias)
        y = self.reduce(linear(x, self.weight.to(x.dtype), None))
        return y if bias is None else y + bias

    def extra_repr(self) -> str:
        return f"{self.in_features} -> {self.out_features}, bias={self.bias is not None}"


class Embedding(nn.Module):
    """Rows of a table [vocabulary, width] by token."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocabulary, width))

    def parameter_info(self) -> dict[str, ParameterInfo]:
        vocabulary, width = self.weight.shape
        return {"weight": ParameterInfo("embedding", vocabulary, width)}

    def forward(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, self.weight)
