"""DeepSeek-V3 in plain and odd configurations, for `test_parity`."""

from __future__ import annotations

from typing import Any

_SHAPE = {
    "hidden_size": 48,
    "intermediate_size": 72,
    "moe_intermediate_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "vocab_size": 131,
    "max_position_embeddings": 64,
    "q_lora_rank": 20,
    "kv_lora_rank": 12,
    "qk_nope_head_dim": 10,
    "qk_rope_head_dim": 6,
    "v_head_dim": 14,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "n_group": 4,
    "topk_group": 2,
    "first_k_dense_replace": 1,
    "bos_token_id": 0,
    "eos_token_id": 1,
    # transformers has no blocks that foresee in the model itself, whatever it counts; see test_deepseek.py.
    "num_nextn_predict_layers": 0,
}


def _yarn(**keys: Any) -> dict[str, Any]:
    rope = {"rope_theta": 10000.0, "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
    return {"rope_parameters": rope | keys}


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "deepseek_v3": ("DeepseekV3", _SHAPE),
    "deepseek_v3 queries straight, halves, biases, tied": (
        "DeepseekV3",
        {
            **_SHAPE,
            "q_lora_rank": None,
            "rope_interleave": False,
            "attention_bias": True,
            "tie_word_embeddings": True,
        },
    ),
    "deepseek_v3 yarn": ("DeepseekV3", {**_SHAPE, **_yarn(mscale=1.0, mscale_all_dim=1.0)}),
    "deepseek_v3 yarn, unequal magnitudes, biases": (
        "DeepseekV3",
        {**_SHAPE, **_yarn(mscale=0.7, mscale_all_dim=1.1), "attention_bias": True},
    ),
    "deepseek_v3 yarn without magnitudes": ("DeepseekV3", {**_SHAPE, **_yarn()}),
    "deepseek_v3 experts everywhere, not normalised": (
        "DeepseekV3",
        {**_SHAPE, "first_k_dense_replace": 0, "norm_topk_prob": False, "routed_scaling_factor": 1.7},
    ),
    "deepseek_v3 dense everywhere, wide values": (
        "DeepseekV3",
        {**_SHAPE, "first_k_dense_replace": 9, "v_head_dim": 5, "kv_lora_rank": 30, "hidden_act": "gelu"},
    ),
    "deepseek_v3 uneven groups, two shared": (
        "DeepseekV3",
        {
            **_SHAPE,
            "n_routed_experts": 9,
            "n_group": 3,
            "topk_group": 2,
            "num_experts_per_tok": 5,
            "n_shared_experts": 2,
            "rms_norm_eps": 1e-2,
        },
    ),
    "deepseek_v3 one group of five": (
        "DeepseekV3",
        {**_SHAPE, "n_routed_experts": 5, "n_group": 1, "topk_group": 1, "num_experts_per_tok": 3},
    ),
}
