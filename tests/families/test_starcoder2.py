"""StarCoder 2's config.json: what published files say, what is assumed, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hf_config import read, refused, theirs

SIZES: dict[str, Any] = {
    "model_type": "starcoder2", "hidden_size": 48, "intermediate_size": 72, "num_hidden_layers": 2,
    "num_attention_heads": 6, "vocab_size": 50257,
}  # fmt: skip
# As the published models say it: some of it twice, some of it under names that transformers doesn't look at.
PUBLISHED = SIZES | {
    "activation_function": "gelu", "attention_dropout": 0.1, "attention_softmax_in_fp32": True, "bos_token_id": 0,
    "embedding_dropout": 0.1, "eos_token_id": 0, "hidden_act": "gelu_pytorch_tanh", "initializer_range": 0.018042,
    "layer_norm_epsilon": 1e-05, "max_position_embeddings": 16384, "mlp_type": "default", "norm_epsilon": 1e-05,
    "norm_type": "layer_norm", "num_key_value_heads": 2, "residual_dropout": 0.1, "rope_theta": 999999.4420358813,
    "scale_attention_softmax_in_fp32": True, "scale_attn_weights": True, "sliding_window": 4096, "use_bias": True,
    "use_cache": True,
}  # fmt: skip


def test_what_a_file_leaves_out_is_what_transformers_assumes(tmp_path: Path) -> None:
    ours, expected = read(SIZES, tmp_path), theirs(SIZES)
    for name in (
        "max_position_embeddings", "hidden_act", "num_key_value_heads", "sliding_window", "use_bias",
        "tie_word_embeddings", "bos_token_id", "eos_token_id",
    ):  # fmt: skip
        assert getattr(ours, name) == getattr(expected, name), name
    assert ours.layer_norm_eps == expected.norm_epsilon
    assert ours.rope_theta == expected.rope_parameters["rope_theta"]


def test_a_published_file(tmp_path: Path) -> None:
    ours = read(PUBLISHED, tmp_path)
    assert (ours.sliding_window, ours.rope_theta, ours.eos_token_id) == (4096, 999999.4420358813, 0)
    assert read(ours.to_hf(), tmp_path).to_hf() == ours.to_hf()
    assert theirs(ours.to_hf()).rope_parameters == theirs(PUBLISHED).rope_parameters


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"norm_type": "rms_norm"}, "norm_type='rms_norm' isn't supported"),
        ({"mlp_type": "gated"}, "mlp_type='gated' isn't supported"),
        ({"scale_attn_weights": False}, "scale_attn_weights=False isn't supported"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"attention_bias": True}, "attention_bias=True"),
        ({"num_key_value_heads": 4}, "num_attention_heads 6 is no multiple"),
        ({"sliding_window": 0}, "sliding_window"),
        ({"vocab_size": 131}, "bos_token_id 50256 is beyond the 131 rows"),
    ],
)
def test_what_cant_be_honoured_is_refused_by_name(keys: dict[str, Any], named: str, tmp_path: Path) -> None:
    refused(SIZES | keys, tmp_path, named)
