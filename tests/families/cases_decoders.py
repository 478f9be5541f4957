"""Gemma 2 and 3, Phi-3, OLMo 2, Granite and GPT-NeoX in plain and odd configurations, for `test_parity`."""

from __future__ import annotations

from typing import Any

_SHAPE = {
    "hidden_size": 48,
    "intermediate_size": 72,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "vocab_size": 131,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    # One would keep its row of the embedding from having a gradient there.
    "pad_token_id": None,
}
_YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}
# Softcaps so low that they bend: scores here reach some tens.
_GEMMA = {
    **_SHAPE, "head_dim": 8, "sliding_window": 7, "query_pre_attn_scalar": 8, "final_logit_softcapping": 9.0,
}  # fmt: skip
_GEMMA2 = {**_GEMMA, "attn_logit_softcapping": 5.0}
_GEMMA3 = {**_GEMMA, "layer_types": ["sliding_attention", "sliding_attention", "full_attention"]}
_PHI3 = {**_SHAPE, "original_max_position_embeddings": 16}


def _long(frequencies: int, **keys: Any) -> dict[str, Any]:
    short = [1.0 + i / 10 for i in range(frequencies)]
    long = [1.5 + i for i in range(frequencies)]
    return {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": short, "long_factor": long, **keys}


_OLMO2 = _GRANITE = _SHAPE
_MULTIPLIERS = {
    "embedding_multiplier": 3.0, "attention_multiplier": 0.11, "residual_multiplier": 0.7, "logits_scaling": 2.5,
}  # fmt: skip
_NEOX = {key: value for key, value in _SHAPE.items() if key != "num_key_value_heads"}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma2": ("Gemma2", _GEMMA2),
    "gemma2 odd heads, biases, untied": (
        "Gemma2",
        {
            **_GEMMA2, "head_dim": 10, "attention_bias": True, "tie_word_embeddings": False, "num_key_value_heads": 6,
            "query_pre_attn_scalar": 23,
        },
    ),
    "gemma2 no caps, full layers first, yarn": (
        "Gemma2",
        {
            **_GEMMA, "final_logit_softcapping": None, "attn_logit_softcapping": None, "rope_parameters": _YARN,
            "layer_types": ["full_attention", "full_attention", "sliding_attention"],
        },
    ),
    "gemma2 no windows": ("Gemma2", {**_GEMMA2, "layer_types": ["full_attention"] * 3}),
    "gemma3": ("Gemma3Text", _GEMMA3),
    "gemma3 by its own pattern": ("Gemma3Text", {**_GEMMA, "num_hidden_layers": 7}),
    "gemma3 odd heads, biases, untied, linear": (
        "Gemma3Text",
        {
            **_GEMMA3, "head_dim": 10, "attention_bias": True, "tie_word_embeddings": False, "num_key_value_heads": 1,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
            },
        },
    ),
    "phi3": ("Phi3", _PHI3),
    "phi3 windows, odd heads, tied": (
        "Phi3", {**_PHI3, "sliding_window": 7, "head_dim": 10, "num_key_value_heads": 3, "tie_word_embeddings": True}
    ),
    "phi3 longrope": ("Phi3", {**_PHI3, "rope_parameters": _long(4)}),
    "phi3 longrope, short": (
        "Phi3", {**_PHI3, "original_max_position_embeddings": 50, "rope_parameters": _long(4, attention_factor=1.3)}
    ),
    "phi3 longrope, partial": (
        "Phi3", {**_PHI3, "rope_parameters": _long(3, factor=3.0, partial_rotary_factor=0.75)}
    ),
    "phi3 partial": (
        "Phi3",
        {**_PHI3, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}},
    ),
    "olmo2": ("Olmo2", _OLMO2),
    "olmo2 odd heads, biases, tied, yarn": (
        "Olmo2",
        {
            **_OLMO2, "head_dim": 10, "attention_bias": True, "tie_word_embeddings": True, "rope_parameters": _YARN,
            "num_key_value_heads": 3, "hidden_act": "gelu",
        },
    ),
    "granite": ("Granite", {**_GRANITE, **_MULTIPLIERS}),
    "granite odd heads, biases, tied": (
        "Granite",
        {
            **_GRANITE, **_MULTIPLIERS, "head_dim": 10, "attention_bias": True, "mlp_bias": True,
            "tie_word_embeddings": True, "num_key_value_heads": 1,
        },
    ),
    "granite, silent about its factors": ("Granite", {**_GRANITE, "attention_multiplier": 0.3}),
    "neox": ("GPTNeoX", _NEOX),
    "neox in turn, no biases, tied": (
        "GPTNeoX",
        {**_NEOX, "use_parallel_residual": False, "attention_bias": False, "tie_word_embeddings": True},
    ),
    "neox whole heads, linear": (
        "GPTNeoX",
        {
            **_NEOX, "hidden_act": "gelu_fast",
            "rope_parameters": {
                "rope_type": "linear", "factor": 2.0, "rope_theta": 500.0, "partial_rotary_factor": 1.0,
            },
        },
    ),
}  # fmt: skip
