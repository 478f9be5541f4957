"""Learned relative positions in buckets (T5, Raffel et al. 2019, arXiv 1910.10683, section 2.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bedplate.nn.parameters import ParameterInfo


@dataclass(frozen=True)
class RelativeBuckets:
    """A number for each head and bucket of distances: half the buckets for one distance each, the rest for ranges that
    grow by logarithms up to `max_distance`. two_sided: half of them for keys after the query, as encoders have it."""

    heads: int
    buckets: int = 32
    max_distance: int = 128
    two_sided: bool = True

    def build(self) -> RelativeBias:
        return RelativeBias(self)


class RelativeBias(nn.Module):
    """weight [buckets, heads]."""

    def __init__(self, record: RelativeBuckets) -> None:
        super().__init__()
        self.record = record
        self.weight = nn.Parameter(torch.zeros(record.buckets, record.heads))

    def parameter_info(self) -> dict[str, ParameterInfo]:
        return {"weight": ParameterInfo("embedding", *self.weight.shape)}

    def forward(self, queries: int, keys: int, dtype: torch.dtype) -> Tensor:
        """The last `queries` of `keys` places -> [1, heads, queries, keys]."""
        device = self.weight.device
        distance = (
            torch.arange(keys, device=device)[None, :] - torch.arange(keys - queries, keys, device=device)[:, None]
        )
        return F.embedding(self._bucket(distance), self.weight).permute(2, 0, 1)[None].to(dtype)

    def _bucket(self, distance: Tensor) -> Tensor:
        """Key's place minus query's, int64 -> bucket."""
        buckets, first = self.record.buckets, torch.zeros_like(distance)
        if self.record.two_sided:
            buckets //= 2
            first = (distance > 0).long() * buckets
            away = distance.abs()
        else:
            away = (-distance).clamp(min=0)
        exact = buckets // 2
        # In fp32 and cut to whole numbers, as T5 was trained: another rounding moves distances to another bucket.
        ratio = torch.log(away.float().clamp(min=1) / exact) / math.log(self.record.max_distance / exact)
        far = (exact + (ratio * (buckets - exact)).long()).clamp(max=buckets - 1)
        return first + torch.where(away < exact, away, far)
