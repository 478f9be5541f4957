"""Which configuration a `model_type` has, and of what kind its models are. No torch here: recipes are checked by it."""

from __future__ import annotations

from importlib import import_module
from typing import Literal

from bedplate.config.nearest import nearest
from bedplate.families.family_config import FamilyConfig

Kind = Literal["decoder", "encoder", "encoder-decoder"]

_CONFIGS: dict[Kind, dict[str, str]] = {
    "decoder": {
        "bedplate-mixer": "mixer_config:MixerConfig",
        "deepseek_v3": "deepseek_v3_config:DeepseekV3Config",
        "gemma2": "gemma_config:Gemma2Config",
        "gemma3_text": "gemma_config:Gemma3Config",
        "gpt2": "gpt2_config:GPT2Config",
        "gpt_neox": "gpt_neox_config:GPTNeoXConfig",
        "granite": "granite_config:GraniteConfig",
        **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), "llama_config:LlamaConfig"),
        "mixtral": "mixtral_config:MixtralConfig",
        "olmo2": "olmo2_config:Olmo2Config",
        "phi3": "phi3_config:Phi3Config",
        "qwen3_moe": "qwen3_moe_config:Qwen3MoeConfig",
        "starcoder2": "starcoder2_config:Starcoder2Config",
    },
    "encoder": {
        "albert": "albert_config:AlbertConfig",
        "bert": "bert_config:BertConfig",
        "esm": "esm_config:EsmConfig",
        "modernbert": "modernbert_config:ModernBertConfig",
        "roberta": "roberta_config:RobertaConfig",
    },
    "encoder-decoder": {
        "bart": "bart_config:BartConfig",
        "t5": "t5_config:T5Config",
    },
}


def kind_of(model_type: str) -> Kind:
    """Raises ValueError naming the nearest known type."""
    for kind, configs in _CONFIGS.items():
        if model_type in configs:
            return kind
    known = [name for configs in _CONFIGS.values() for name in configs]
    near = nearest(model_type, known)
    raise ValueError(
        f"unknown model_type {model_type!r}; {f'nearest: {near}; ' if near else ''}known: {', '.join(known)}"
    )


def config_class(model_type: str) -> type[FamilyConfig]:
    """Raises ValueError naming the nearest known type."""
    module, _, name = _CONFIGS[kind_of(model_type)][model_type].partition(":")
    found: type[FamilyConfig] = getattr(import_module(f"bedplate.families.{module}"), name)
    return found
