"""Which family reads which `model_type`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bedplate.errors import WeightsError
from bedplate.families import llama
from bedplate.families.llama_config import LlamaConfig
from bedplate.families.weights import Table
from bedplate.nn.stack import Decoder


@dataclass(frozen=True)
class Family:
    """A family: how its config.json is read, its modules built and its weights named."""

    read_config: Callable[[Mapping[str, Any], str], LlamaConfig]
    build: Callable[[LlamaConfig], Decoder]
    weights: Table


_LLAMA = Family(LlamaConfig.from_hf, llama.build, llama.WEIGHTS)
FAMILIES: dict[str, Family] = dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), _LLAMA)


def family_of(model_type: object, where: str) -> Family:
    """The family of a config.json's `model_type`. Raises WeightsError naming those that are known."""
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise WeightsError(f"{where}: model_type {model_type!r} is unknown", f"Known: {', '.join(sorted(FAMILIES))}.")
    return FAMILIES[model_type]
