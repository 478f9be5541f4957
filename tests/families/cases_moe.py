"""Mixtral and Qwen3-MoE in plain and odd configurations, for `test_parity`."""

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
}
_MIXTRAL = {**_SHAPE, "num_local_experts": 8, "num_experts_per_tok": 2}
_QWEN3 = {**_SHAPE, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 20, "head_dim": 16}
_YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "mixtral": ("Mixtral", _MIXTRAL),
    "mixtral 5 experts top 3, window, odd heads, tied": (
        "Mixtral",
        {
            **_MIXTRAL,
            "num_local_experts": 5,
            "num_experts_per_tok": 3,
            "sliding_window": 7,
            "head_dim": 10,
            "tie_word_embeddings": True,
        },
    ),
    "mixtral one expert, gelu, no grouping": (
        "Mixtral",
        {
            **_MIXTRAL,
            "num_local_experts": 1,
            "num_experts_per_tok": 1,
            "hidden_act": "gelu",
            "num_key_value_heads": 6,
        },
    ),
    "qwen3_moe": ("Qwen3Moe", {**_QWEN3, "norm_topk_prob": True}),
    "qwen3_moe 5 experts top 3, not normalised, biases, tied": (
        "Qwen3Moe",
        {
            **_QWEN3,
            "num_experts": 5,
            "num_experts_per_tok": 3,
            "attention_bias": True,
            "tie_word_embeddings": True,
            "head_dim": 14,
        },
    ),
    "qwen3_moe some layers dense, window": (
        "Qwen3Moe",
        {
            **_QWEN3,
            "num_hidden_layers": 5,
            "decoder_sparse_step": 2,
            "mlp_only_layers": [3],
            "use_sliding_window": True,
            "sliding_window": 5,
        },
    ),
    "qwen3_moe yarn, all experts": (
        "Qwen3Moe",
        {**_QWEN3, "num_experts": 4, "num_experts_per_tok": 4, "rope_parameters": _YARN},
    ),
}
