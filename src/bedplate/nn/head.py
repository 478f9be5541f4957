"""How hidden states become logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bedplate.nn.products import linear


@dataclass(frozen=True)
class Readout:
    """softcap * tanh((h W^T + b) / softcap), each part where there is one (Gemma 2 bends its logits, BERT has a bias).

    weight [V, D], bias [V]: the net's own parameters, so that gradients reach them.
    """

    weight: Tensor
    bias: Tensor | None = None
    softcap: float | None = None

    def to(self, dtype: torch.dtype) -> Readout:
        """The same with its numbers in `dtype`."""
        return Readout(self.weight.to(dtype), None if self.bias is None else self.bias.to(dtype), self.softcap)

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] -> [..., V] fp32."""
        here = self.to(hidden.dtype)
        return self.capped(linear(hidden, here.weight, here.bias).float())

    def capped(self, logits: Tensor) -> Tensor:
        """Logits [..., V], bent where the model bends them, and then fp32."""
        return capped(logits, self.softcap)


def capped(logits: Tensor, softcap: float | None) -> Tensor:
    """softcap * tanh(logits / softcap) in fp32; the logits as they are where there is no cap."""
    return logits if softcap is None else softcap * torch.tanh(logits.float() / softcap)
