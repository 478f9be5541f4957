"""The config.json of OLMo 2 and of Granite, both Llama but for a few keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hf_config import read, refused, theirs

SIZES: dict[str, Any] = {
    "hidden_size": 48, "intermediate_size": 72, "num_hidden_layers": 2, "num_attention_heads": 6,
    "vocab_size": 60000,
}  # fmt: skip


@pytest.mark.parametrize("model_type", ["olmo2", "granite"])
def test_what_a_file_leaves_out_is_what_transformers_assumes(model_type: str, tmp_path: Path) -> None:
    found = SIZES | {"model_type": model_type}
    ours, expected = read(found, tmp_path), theirs(found)
    assert ours.kv_heads == expected.num_key_value_heads
    assert ours.rope_theta == expected.rope_parameters["rope_theta"]
    own = ("embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling", "mlp_bias")
    for name in (
        "max_position_embeddings", "hidden_act", "rms_norm_eps", "attention_bias", "tie_word_embeddings",
        "bos_token_id", "eos_token_id", "pad_token_id", *(own if model_type == "granite" else ()),
    ):  # fmt: skip
        assert getattr(ours, name) == getattr(expected, name), name
    assert read(ours.to_hf(), tmp_path).to_hf() == ours.to_hf()


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"model_type": "olmo2", "clip_qkv": 8.0}, "clip_qkv=8.0"),
        ({"model_type": "olmo2", "sliding_window": 8}, "sliding_window=8"),
        ({"model_type": "olmo2", "mlp_bias": True}, "mlp_bias=True"),
        ({"model_type": "olmo2", "partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"model_type": "olmo2", "num_key_value_heads": 4}, "num_key_value_heads 4"),
        ({"model_type": "granite", "logits_scaling": 0}, "logits_scaling"),
        ({"model_type": "granite", "residual_multiplier": "much"}, "residual_multiplier"),
        ({"model_type": "granite", "shared_intermediate_size": 8}, "shared_intermediate_size=8"),
        ({"model_type": "granite", "num_local_experts": 4}, "num_local_experts=4"),
        ({"model_type": "granite", "rope_scaling": {"type": "yarn"}}, "rope_scaling.factor"),
    ],
)
def test_what_cant_be_honoured_is_refused_by_name(keys: dict[str, Any], named: str, tmp_path: Path) -> None:
    refused(SIZES | keys, tmp_path, named)
