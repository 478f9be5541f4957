"""Which family reads which `model_type`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import nn

from bedplate.errors import WeightsError
from bedplate.families import bert, gpt2, llama
from bedplate.families.bert_config import BertConfig
from bedplate.families.family_config import FamilyConfig
from bedplate.families.gpt2_config import GPT2Config
from bedplate.families.llama_config import LlamaConfig
from bedplate.families.weights import Table
from bedplate.nn.decoder import Decoder
from bedplate.nn.encoder import Encoder

C = TypeVar("C", bound=FamilyConfig)
N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class Family(Generic[C, N]):
    """A family: how its config.json is read, its modules built and its weights named.

    weights: the table, or what gives it for a configuration, where sizes and numbers of experts stand in it. tied:
    parameters that a model lacks under a configuration -> the ones that stand for them.
    """

    read_config: Callable[[Mapping[str, Any], str], C]
    build: Callable[[C], N]
    weights: Table | Callable[[C], Table]
    tied: Callable[[C], Mapping[str, str]] = lambda config: {}

    def table(self, config: C) -> Table:
        """The weights of a model of this configuration."""
        return self.weights if isinstance(self.weights, Table) else self.weights(config)


_LLAMA = Family(LlamaConfig.from_hf, llama.build, llama.WEIGHTS, llama.tied)
_BERT = Family(BertConfig.from_hf, bert.build, bert.WEIGHTS)
FAMILIES: dict[str, Family[Any, Decoder]] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), _LLAMA),
    "gpt2": Family(GPT2Config.from_hf, gpt2.build, gpt2.weights, gpt2.tied),
}
"""Families that write."""

ENCODERS: dict[str, Family[Any, Encoder]] = {"bert": _BERT}
"""Families that turn texts into vectors."""


def is_encoder(model_type: object) -> bool:
    """Whether a config.json's `model_type` is an encoder's."""
    return isinstance(model_type, str) and model_type in ENCODERS


def family_of(model_type: object, where: str) -> Family[Any, Decoder]:
    """The writing family of a config.json's `model_type`. Raises WeightsError naming those that are known, or saying
    that it is an encoder's."""
    if is_encoder(model_type):
        raise WeightsError(
            f"{where}: model_type {model_type!r} is an encoder: it turns texts into vectors and can't write",
            "Give it where an encoder is asked for (index, nearest, probe, embeddings), or name a language model here.",
        )
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise _unknown(model_type, where)
    return FAMILIES[model_type]


def encoder_family_of(model_type: object, where: str) -> Family[Any, Encoder]:
    """The encoder family of a config.json's `model_type`. Raises WeightsError naming those that are known, or saying
    that it is a language model's."""
    if isinstance(model_type, str) and model_type in FAMILIES:
        raise WeightsError(
            f"{where}: model_type {model_type!r} is a language model, and an encoder is needed",
            f"Name an encoder here. Known: {', '.join(sorted(ENCODERS))}.",
        )
    if not isinstance(model_type, str) or model_type not in ENCODERS:
        raise _unknown(model_type, where)
    return ENCODERS[model_type]


def _unknown(model_type: object, where: str) -> WeightsError:
    known = ", ".join(sorted({**FAMILIES, **ENCODERS}))
    return WeightsError(f"{where}: model_type {model_type!r} is unknown", f"Known: {known}.")
