"""What stands on an encoder's hidden states: a head that predicts masked tokens, and heads that tell classes apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from bedplate.nn.feedforward import ACTIVATIONS, Activation
from bedplate.nn.head import Readout
from bedplate.nn.linear import Linear
from bedplate.nn.norm import Norm
from bedplate.nn.parameters import ParameterInfo

Pooling = Literal["mean", "cls"]
"""The state that stands for a text: the mean over its tokens, or that of its first token."""


@dataclass(frozen=True)
class Transform:
    """norm(activation(dense(x))), without a norm where None: what BERT has before an encoder's last map.

    width: of its result, the encoder's where None.
    """

    activation: Activation = "gelu"
    norm: Norm | None = None
    width: int | None = None
    bias: bool = True

    def build(self, width: int) -> TransformLayer:
        return TransformLayer(self, width)


class TransformLayer(nn.Module):
    """x [..., width] -> [..., its width]."""

    def __init__(self, record: Transform, width: int) -> None:
        super().__init__()
        self.width = record.width or width
        self.activation = ACTIVATIONS[record.activation]
        self.dense = Linear(width, self.width, bias=record.bias)
        self.norm = record.norm.build(self.width) if record.norm else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.dense(x))
        return x if self.norm is None else self.norm(x)


@dataclass(frozen=True)
class MaskedHead:
    """Predicts masked tokens from transformed states (BERT, Devlin et al. 2018, arXiv 1810.04805, section 3.1).

    tied: the decoder's matrix is the embedding's. bias: on its logits.
    """

    transform: Transform
    tied: bool = True
    bias: bool = True

    def build(self, width: int, vocabulary: int) -> MaskedHeadLayer:
        return MaskedHeadLayer(self, width, vocabulary)


class MaskedHeadLayer(nn.Module):
    """Its logits are what `readout` makes of `states`, so that a loss can take them in chunks."""

    def __init__(self, record: MaskedHead, width: int, vocabulary: int) -> None:
        super().__init__()
        self.transform = record.transform.build(width)
        self.out = None if record.tied else Linear(self.transform.width, vocabulary, role="head")
        self.bias = nn.Parameter(self.transform.dense.weight.new_zeros(vocabulary)) if record.bias else None

    def parameter_info(self) -> dict[str, ParameterInfo]:
        return {} if self.bias is None else {"bias": ParameterInfo("bias", 1, self.bias.shape[0])}

    def readout(self, embedding: Tensor) -> Readout:
        """How its states become logits. embedding [V, D]: the matrix where it is tied."""
        return Readout(embedding if self.out is None else self.out.weight, self.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden [..., width] -> the states that `readout` takes."""
        states: Tensor = self.transform(hidden)
        return states


@dataclass(frozen=True)
class ClassHead:
    """Tells `classes` apart: of a text, whose states are pooled first, or of each token, where pooling is None."""

    classes: int
    pooling: Pooling | None
    transform: Transform | None = None

    def build(self, width: int) -> ClassHeadLayer:
        return ClassHeadLayer(self, width)


class ClassHeadLayer(nn.Module):
    """hidden [B, T, width], valid [B, T] bool -> logits fp32, [B, K] of texts or [B, T, K] of tokens."""

    def __init__(self, record: ClassHead, width: int) -> None:
        super().__init__()
        self.pooling = record.pooling
        self.transform = record.transform.build(width) if record.transform else None
        inner = width if self.transform is None else self.transform.width
        self.out = Linear(inner, record.classes, bias=True, role="head")

    def forward(self, hidden: Tensor, valid: Tensor | None = None) -> Tensor:
        x = hidden if self.pooling is None else pool(hidden, valid, self.pooling).to(hidden.dtype)
        logits: Tensor = self.out(x if self.transform is None else self.transform(x))
        return logits.float()


def pool(hidden: Tensor, valid: Tensor | None, pooling: Pooling) -> Tensor:
    """hidden [B, T, D], valid [B, T] bool -> [B, D] fp32: the mean over valid positions, or the first position."""
    if pooling == "cls":
        return hidden[:, 0].float()
    if valid is None:
        return hidden.mean(1, dtype=torch.float32)
    weights = valid.float() / valid.sum(1, keepdim=True).clamp(min=1)
    return (hidden.float() * weights.unsqueeze(-1)).sum(1)
