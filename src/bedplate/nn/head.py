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

    @property
    def plain(self) -> bool:
        """Whether logits are the product alone."""
        return self.bias is None and self.softcap is None

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] -> [..., V] fp32."""
        bias = None if self.bias is None else self.bias.to(hidden.dtype)
        return self.capped(linear(hidden, self.weight.to(hidden.dtype), bias).float())

    def capped(self, logits: Tensor) -> Tensor:
        """Logits [..., V], bent where the model bends them."""
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)
