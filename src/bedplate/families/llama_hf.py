"""Hugging Face's `config.json` of the Llama family, read and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from bedplate.families.family_config import MAX_LAYERS, check_causal, check_unknown, refuse
from bedplate.families.llama_config import LlamaConfig
from bedplate.families.rope_config import read_rope, write_rope

# What a class of transformers assumes where its config.json is silent; where two releases differ, the file says it.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {"max_position_embeddings": 2048},
    "mistral": {"max_position_embeddings": 131072, "sliding_window": 4096, "num_key_value_heads": 8},
    "qwen2": {
        "max_position_embeddings": 32768, "sliding_window": 4096, "max_window_layers": 28, "num_key_value_heads": 32,
    },
    "qwen3": {
        "max_position_embeddings": 32768, "sliding_window": 4096, "max_window_layers": 28, "num_key_value_heads": 32,
        "head_dim": 128,
    },
}  # fmt: skip
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
# Where null doesn't mean silence: a window of null is no window, key heads of null are as many as queries.
_NULL_SAYS = ("sliding_window", "num_key_value_heads")
_COPIED = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
    "rms_norm_eps", "max_position_embeddings", "tie_word_embeddings", "vocab_size",
    *_TOKENS,
)  # fmt: skip
_HANDLED = {
    *_COPIED, "model_type", "hidden_act", "rope_theta", "rope_scaling", "rope_parameters", "attention_bias", "mlp_bias",
    "sliding_window", "use_sliding_window", "max_window_layers", "layer_types", "pretraining_tp", "is_causal",
    "is_llama_config",
}  # fmt: skip
_LAYER_TYPES = ("full_attention", "sliding_attention")


def read_config(found: Mapping[str, Any], where: str) -> LlamaConfig:
    """config.json's content -> LlamaConfig. Raises WeightsError naming the key that can't be honoured."""
    kind = found.get("model_type")
    if kind not in _DEFAULTS:
        raise refuse(where, f"model_type {kind!r} is not of the Llama family", f"Known: {', '.join(_DEFAULTS)}.")
    check_causal(found, where)
    check_unknown(found, _HANDLED, where)
    given = {**_DEFAULTS[kind], **{k: v for k, v in found.items() if v is not None or k in _NULL_SAYS}}
    _only(given, "hidden_act", ("silu", "swish"), where)
    _only(given, "pretraining_tp", (1,), where)
    theta, scaling, _ = read_rope(given, where)
    bias = kind == "qwen2" or bool(given.get("attention_bias"))
    fields = {k: given[k] for k in _COPIED if k in given}
    if fields.get("pad_token_id") == -1:
        fields["pad_token_id"] = None  # as the first conversions of Llama said it
    if isinstance(fields.get("eos_token_id"), list):
        fields["eos_token_id"] = tuple(fields["eos_token_id"])
    try:
        return LlamaConfig.model_validate(
            fields
            | {
                "model_type": kind,
                "rope_theta": theta,
                "rope_scaling": scaling,
                "qkv_bias": bias,
                "out_bias": bias and kind != "qwen2",
                "mlp_bias": bool(given.get("mlp_bias")),
                "qk_norm": kind == "qwen3",
                "windows": _read_windows(kind, given, where),
            }
        ).settled()
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'config'}: {e['msg']}" for e in error.errors())
        raise refuse(where, problems, "Take the config.json that belongs to these weights.") from error


def write_config(c: LlamaConfig) -> dict[str, Any]:
    """LlamaConfig -> config.json's content."""
    head = "ForCausalLM"
    classes = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}
    eos = list(c.eos_token_id) if isinstance(c.eos_token_id, tuple) else c.eos_token_id
    written: dict[str, Any] = {
        "architectures": [classes[c.model_type] + head],
        "model_type": c.model_type,
        **{k: getattr(c, k) for k in _COPIED},
        "num_key_value_heads": c.kv_heads,
        "head_dim": c.head_size,
        "eos_token_id": eos,
        "hidden_act": "silu",
        **write_rope(c.rope_theta, c.rope_scaling, c.max_position_embeddings),
        **_write_switches(c),
    }
    # Silence about a token would mean another one to some readers: Llama's class fills in 1 and 2.
    return {k: v for k, v in written.items() if v is not None or k in ("rope_scaling", "sliding_window", *_TOKENS)}


def _write_switches(c: LlamaConfig) -> dict[str, Any]:
    windows = c.windows or (None,) * c.num_hidden_layers
    window = next((w for w in windows if w is not None), None)
    if c.model_type == "llama":
        return {"attention_bias": c.qkv_bias, "mlp_bias": c.mlp_bias}
    if c.model_type == "mistral":
        return {"sliding_window": window}
    switches: dict[str, Any] = {
        "use_sliding_window": window is not None,
        "sliding_window": window,
        # Older readers know no layer_types: full attention comes first in every published model.
        "max_window_layers": sum(w is None for w in windows),
        "layer_types": ["full_attention" if w is None else "sliding_attention" for w in windows],
    }
    return switches | ({"attention_bias": c.qkv_bias} if c.model_type == "qwen3" else {})


def _read_windows(kind: str, given: Mapping[str, Any], where: str) -> tuple[int | None, ...] | None:
    layers, window, types = given.get("num_hidden_layers"), given.get("sliding_window"), given.get("layer_types")
    if not isinstance(layers, int) or layers > MAX_LAYERS:
        return None  # LlamaConfig will say what is wrong with it
    if types is not None and not (isinstance(types, list) and all(t in _LAYER_TYPES for t in types)):
        raise refuse(where, f"layer_types={types!r}", f"Known: lists of {' and '.join(_LAYER_TYPES)}.")
    if kind in ("llama", "mistral"):
        if kind == "llama" and window and given.get("use_sliding_window") is not False:
            raise refuse(where, f"sliding_window={window!r}, which Llama has not", "Make it null, or the type mistral.")
        one = None if kind == "llama" else window
        if set(types or ()) - {_LAYER_TYPES[one is not None]}:
            raise refuse(
                where, f"layer_types={types!r}, but all layers of {kind} are alike", "Remove it if it's wrong."
            )
        return None if one is None else (one,) * layers
    if window is None or not given.get("use_sliding_window"):
        return None
    if types is None:
        full = given["max_window_layers"]
        if not isinstance(full, int):
            raise refuse(where, f"max_window_layers={full!r} is no whole number", "Take an undamaged copy.")
        types = [_LAYER_TYPES[i >= full] for i in range(layers)]
    return tuple(window if t == "sliding_attention" else None for t in types)


def _only(given: Mapping[str, Any], key: str, allowed: tuple[Any, ...], where: str) -> None:
    if key in given and given[key] not in allowed:
        raise refuse(where, f"{key}={given[key]!r} isn't supported", f"Supported: {', '.join(map(repr, allowed))}.")
