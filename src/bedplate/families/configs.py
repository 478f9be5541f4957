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
        **dict.fromkeys(("camembert", "roberta", "xlm-roberta"), "roberta_config:RobertaConfig"),
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


def model_types() -> dict[str, Kind]:
    """Every known type -> of what kind its models are."""
    return {model_type: kind for kind, configs in _CONFIGS.items() for model_type in configs}


def expert_layers(config: FamilyConfig) -> int:
    """How many of the stack's layers have experts."""
    from bedplate.families.deepseek_v3_config import DeepseekV3Config
    from bedplate.families.mixtral_config import ExpertsConfig
    from bedplate.families.qwen3_moe_config import Qwen3MoeConfig

    layers = config.num_hidden_layers
    if isinstance(config, DeepseekV3Config):
        return max(layers - config.first_k_dense_replace, 0)
    if isinstance(config, Qwen3MoeConfig):
        return sum(config.has_experts(layer) for layer in range(layers))
    return layers if isinstance(config, ExpertsConfig) else 0


def has_routing_bias(config: FamilyConfig) -> bool:
    """Whether its routers have a bias that balances them."""
    from bedplate.families.deepseek_v3_config import DeepseekV3Config

    return isinstance(config, DeepseekV3Config) and expert_layers(config) > 0


def depths_ahead(config: FamilyConfig) -> int:
    """How many tokens beyond the next one it foresees."""
    from bedplate.families.deepseek_v3_config import DeepseekV3Config

    return config.num_nextn_predict_layers if isinstance(config, DeepseekV3Config) else 0


def recurrent_layers(config: FamilyConfig) -> int:
    """How many layers read a text in one direction whatever the mask says."""
    from bedplate.families.mixer_config import MixerConfig

    return sum(mixer != "attention" for mixer in config.mixers) if isinstance(config, MixerConfig) else 0
