"""Which family reads which `model_type`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import nn

from bedplate.errors import WeightsError
from bedplate.families import (
    albert,
    bart,
    bert,
    deepseek_v3,
    esm,
    gemma,
    gpt2,
    gpt_neox,
    granite,
    llama,
    mixer,
    mixtral,
    modernbert,
    olmo2,
    phi3,
    qwen3_moe,
    roberta,
    rotary_config,
    starcoder2,
    t5,
)  # fmt: skip
from bedplate.families.albert_config import AlbertConfig
from bedplate.families.bart_config import BartConfig
from bedplate.families.bert_config import BertConfig
from bedplate.families.deepseek_v3_config import DeepseekV3Config
from bedplate.families.esm_config import EsmConfig
from bedplate.families.family_config import FamilyConfig
from bedplate.families.gemma_config import Gemma2Config, Gemma3Config
from bedplate.families.gpt2_config import GPT2Config
from bedplate.families.gpt_neox_config import GPTNeoXConfig
from bedplate.families.granite_config import GraniteConfig
from bedplate.families.llama_config import LlamaConfig
from bedplate.families.mixer_config import MixerConfig
from bedplate.families.mixtral_config import MixtralConfig
from bedplate.families.modernbert_config import ModernBertConfig
from bedplate.families.olmo2_config import Olmo2Config
from bedplate.families.phi3_config import Phi3Config
from bedplate.families.qwen3_moe_config import Qwen3MoeConfig
from bedplate.families.roberta_config import RobertaConfig
from bedplate.families.starcoder2_config import Starcoder2Config
from bedplate.families.t5_config import T5Config
from bedplate.families.weights import Table
from bedplate.nn.decoder import Decoder
from bedplate.nn.encoder import Encoder
from bedplate.nn.encoder_decoder import EncoderDecoder

C = TypeVar("C", bound=FamilyConfig)
N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class Family(Generic[C, N]):
    """A family: how its config.json is read, its modules built and its weights named.

    weights: the table, or what gives it for a configuration, where sizes and numbers of experts stand in it. tied:
    parameters that a model lacks under a configuration -> the ones that stand for them. held: the configuration of what
    a checkpoint with tensors of these names holds, where files say more in their configuration than they have.
    """

    read_config: Callable[[Mapping[str, Any], str], C]
    build: Callable[[C], N]
    weights: Table | Callable[[C], Table]
    tied: Callable[[C], Mapping[str, str]] = lambda config: {}
    held: Callable[[C, Collection[str]], C] = lambda config, names: config

    def table(self, config: C) -> Table:
        """The weights of a model of this configuration."""
        return self.weights if isinstance(self.weights, Table) else self.weights(config)


_LLAMA = Family(LlamaConfig.from_hf, llama.build, llama.WEIGHTS, llama.tied)
_ROBERTA = Family(RobertaConfig.from_hf, roberta.build, roberta.weights, roberta.tied)
FAMILIES: dict[str, Family[Any, Decoder]] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), _LLAMA),
    "bedplate-mixer": Family(MixerConfig.from_hf, mixer.build, mixer.WEIGHTS, mixer.tied),
    "deepseek_v3": Family(
        DeepseekV3Config.from_hf, deepseek_v3.build, deepseek_v3.weights, deepseek_v3.tied, deepseek_v3.held
    ),
    "gemma2": Family(Gemma2Config.from_hf, gemma.build, gemma.WEIGHTS, rotary_config.tied),
    "gemma3_text": Family(Gemma3Config.from_hf, gemma.build, gemma.WEIGHTS, rotary_config.tied),
    "gpt2": Family(GPT2Config.from_hf, gpt2.build, gpt2.weights, gpt2.tied),
    "gpt_neox": Family(GPTNeoXConfig.from_hf, gpt_neox.build, gpt_neox.weights, rotary_config.tied),
    "granite": Family(GraniteConfig.from_hf, granite.build, granite.WEIGHTS, rotary_config.tied),
    "mixtral": Family(MixtralConfig.from_hf, mixtral.build, mixtral.weights, rotary_config.tied),
    "olmo2": Family(Olmo2Config.from_hf, olmo2.build, olmo2.WEIGHTS, rotary_config.tied),
    "phi3": Family(Phi3Config.from_hf, phi3.build, phi3.weights, rotary_config.tied),
    "qwen3_moe": Family(Qwen3MoeConfig.from_hf, qwen3_moe.build, qwen3_moe.weights, rotary_config.tied),
    "starcoder2": Family(Starcoder2Config.from_hf, starcoder2.build, starcoder2.WEIGHTS, rotary_config.tied),
}
"""Families that write."""

ENCODERS: dict[str, Family[Any, Encoder]] = {
    "albert": Family(AlbertConfig.from_hf, albert.build, albert.weights, albert.tied),
    "bert": Family(BertConfig.from_hf, bert.build, bert.weights, bert.tied),
    "esm": Family(EsmConfig.from_hf, esm.build, esm.weights, esm.tied),
    "modernbert": Family(ModernBertConfig.from_hf, modernbert.build, modernbert.weights, modernbert.tied),
    **dict.fromkeys(("camembert", "roberta", "xlm-roberta"), _ROBERTA),
}
"""Families that turn texts into vectors."""

ENCODER_DECODERS: dict[str, Family[Any, EncoderDecoder]] = {
    "bart": Family(BartConfig.from_hf, bart.build, bart.weights, bart.tied),
    "t5": Family(T5Config.from_hf, t5.build, t5.weights, t5.tied),
}
"""Families that read one text and write another."""


def is_encoder(model_type: object) -> bool:
    """Whether a config.json's `model_type` is an encoder's."""
    return isinstance(model_type, str) and model_type in ENCODERS


def is_encoder_decoder(model_type: object) -> bool:
    """Whether a config.json's `model_type` is an encoder-decoder's."""
    return isinstance(model_type, str) and model_type in ENCODER_DECODERS


def family_of(model_type: object, where: str) -> Family[Any, Decoder]:
    """The writing family of a config.json's `model_type`. Raises WeightsError naming those that are known, or saying
    that it is an encoder's or an encoder-decoder's."""
    if is_encoder_decoder(model_type):
        raise WeightsError(
            f"{where}: model_type {model_type!r} is an encoder-decoder: it writes an answer to a text, and what is "
            "asked for continues one",
            "Give it to bedplate.load(...).generate or a span-corruption run, or name a decoder here (llama, gpt2).",
        )
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
    if isinstance(model_type, str) and model_type in {**FAMILIES, **ENCODER_DECODERS}:
        raise WeightsError(
            f"{where}: model_type {model_type!r} is a language model, and an encoder is needed",
            f"Name an encoder here. Known: {', '.join(sorted(ENCODERS))}.",
        )
    if not isinstance(model_type, str) or model_type not in ENCODERS:
        raise _unknown(model_type, where)
    return ENCODERS[model_type]


def seq2seq_family_of(model_type: object, where: str) -> Family[Any, EncoderDecoder]:
    """The encoder-decoder family of a config.json's `model_type`. Raises WeightsError naming those that are known, or
    saying that it is of another kind."""
    if not is_encoder_decoder(model_type):
        if not isinstance(model_type, str) or model_type not in {**FAMILIES, **ENCODERS}:
            raise _unknown(model_type, where)
        raise WeightsError(
            f"{where}: model_type {model_type!r} isn't an encoder-decoder, and one is needed",
            f"Name one of {', '.join(sorted(ENCODER_DECODERS))}.",
        )
    return ENCODER_DECODERS[model_type]  # type: ignore[index]  # a str, as has just been seen


def any_family_of(model_type: object, where: str) -> Family[Any, Any]:
    """The family of a `model_type`, of whatever kind. Raises WeightsError naming those that are known."""
    every: dict[str, Family[Any, Any]] = {**FAMILIES, **ENCODERS, **ENCODER_DECODERS}
    if not isinstance(model_type, str) or model_type not in every:
        raise _unknown(model_type, where)
    return every[model_type]


def _unknown(model_type: object, where: str) -> WeightsError:
    known = ", ".join(sorted({**FAMILIES, **ENCODERS, **ENCODER_DECODERS}))
    return WeightsError(f"{where}: model_type {model_type!r} is unknown", f"Known: {known}.")
