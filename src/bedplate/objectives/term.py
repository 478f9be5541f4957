"""What a loss is made of: named sums, each divided once by its global weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor, nn

Batch = Mapping[str, Tensor]
"""A plain dict of tensors, one row an example; `tokens` [B, T] is always there."""

Net = TypeVar("Net", bound=nn.Module)
"""What an objective is computed on: a decoder, an encoder with a head ..."""
_Net = TypeVar("_Net", bound=nn.Module, contravariant=True)


@dataclass(frozen=True)
class Term:
    """One named part of a loss: a sum over what is supervised (fp32 scalar), and how much it counts.

    The loop divides the sum by the weight of the whole global batch, so that micro-batches, accumulation and data
    parallelism all give the same update.
    """

    sum: Tensor
    coefficient: float = 1.0


class Objective(Protocol[_Net]):
    """A loss that the one loop can train."""

    def weights(self, batch: Batch) -> dict[str, Tensor]:
        """Each term's weight in this part of the batch (a scalar), counted from the data alone: before the forward
        pass, so that ranks and micro-batches can be summed first."""
        ...

    def __call__(self, net: _Net, batch: Batch) -> dict[str, Term]:
        """Each term's sum over this part of the batch."""
        ...
