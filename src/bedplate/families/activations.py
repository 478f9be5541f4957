"""The names that Hugging Face's configurations give to functions between two maps. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bedplate.nn.feedforward import Activation

HiddenAct = Literal[
    "gelu", "gelu_python", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_accurate", "quick_gelu", "relu", "silu",
    "swish",
]  # fmt: skip

ACTIVATION_NAMES: Mapping[HiddenAct, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    # One formula, spelt in several ways.
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
