"""StarCoder 2 in plain and odd configurations, for `test_parity`."""

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
}
_YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "starcoder2": ("Starcoder2", _SHAPE),
    "starcoder2 windows, one key head, untied": (
        "Starcoder2", {**_SHAPE, "sliding_window": 7, "num_key_value_heads": 1, "tie_word_embeddings": False}
    ),
    "starcoder2 odd heads, no biases, yarn": (
        "Starcoder2",
        {
            **_SHAPE, "head_dim": 10, "use_bias": False, "rope_parameters": _YARN, "hidden_act": "relu",
            "norm_epsilon": 1e-2,
        },
    ),
}  # fmt: skip
