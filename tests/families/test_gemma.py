"""Gemma's config.json: what files leave out, older spellings, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hf_config import read, refused, theirs

SIZES: dict[str, Any] = {
    "model_type": "gemma2", "hidden_size": 48, "intermediate_size": 72, "num_hidden_layers": 13,
    "num_attention_heads": 8, "vocab_size": 131,
}  # fmt: skip
THIRD = SIZES | {"model_type": "gemma3_text"}


@pytest.mark.parametrize("found", [SIZES, THIRD], ids=["gemma2", "gemma3"])
def test_what_a_file_leaves_out_is_what_transformers_assumes(found: dict[str, Any], tmp_path: Path) -> None:
    ours, expected = read(found, tmp_path), theirs(found)
    for ours_name in (
        "sliding_window", "query_pre_attn_scalar", "final_logit_softcapping", "tie_word_embeddings", "rms_norm_eps",
        "max_position_embeddings", "num_key_value_heads", "head_dim", "bos_token_id", "eos_token_id", "pad_token_id",
        "attention_bias",
    ):  # fmt: skip
        assert getattr(ours, ours_name) == getattr(expected, ours_name), ours_name
    assert list(ours.types) == expected.layer_types
    if found is SIZES:
        assert ours.attn_logit_softcapping == expected.attn_logit_softcapping == 50.0
        assert ours.rope_theta == expected.rope_parameters["rope_theta"]
    else:
        assert ours.rope_theta == expected.rope_parameters["full_attention"]["rope_theta"]
        assert ours.rope_local_theta == expected.rope_parameters["sliding_attention"]["rope_theta"]


def test_null_is_no_softcap(tmp_path: Path) -> None:
    nulls = {"attn_logit_softcapping": None, "final_logit_softcapping": None}
    ours = read(SIZES | nulls, tmp_path)
    assert ours.attn_logit_softcapping is None
    assert ours.final_logit_softcapping is None
    assert ours.to_hf().items() >= nulls.items()


def test_gemma3_as_it_was_first_published(tmp_path: Path) -> None:
    older = {
        "rope_theta": 1e6, "rope_local_base_freq": 12345.0, "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window_pattern": 4, "cache_implementation": "hybrid", "hidden_activation": "gelu_pytorch_tanh",
        "attn_logit_softcapping": None,
    }  # fmt: skip
    ours, expected = read(THIRD | older, tmp_path), theirs(THIRD | older)
    assert list(ours.types) == expected.layer_types
    assert ours.rope_theta == expected.rope_parameters["full_attention"]["rope_theta"] == 1e6
    assert ours.rope_scaling.factor == expected.rope_parameters["full_attention"]["factor"] == 8.0
    assert ours.rope_local_theta == expected.rope_parameters["sliding_attention"]["rope_theta"] == 12345.0
    again = theirs(ours.to_hf())
    assert again.rope_parameters == expected.rope_parameters
    assert again.layer_types == expected.layer_types
    assert read(ours.to_hf(), tmp_path).to_hf() == ours.to_hf()


def test_gemma3_stretched_by_the_older_name_is_stretched(tmp_path: Path) -> None:
    """Where transformers lays {"type": ...} over a default rope_type, and so takes no notice of it."""
    older = {"rope_scaling": {"type": "linear", "factor": 8.0}}
    ours = read(THIRD | older, tmp_path)
    assert (ours.rope_scaling.rope_type, ours.rope_scaling.factor) == ("linear", 8.0)
    assert theirs(THIRD | older).rope_parameters["full_attention"]["rope_type"] == "default"
    # What we write is read alike by both.
    assert theirs(ours.to_hf()).rope_parameters["full_attention"]["rope_type"] == "linear"


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention=True"),
        ({"hidden_act": "relu"}, "hidden_act='relu'"),
        ({"hidden_activation": "relu6"}, "hidden_act"),
        ({"layer_types": ["full_attention"]}, "layer_types has 1 entries for 13 layers"),
        ({"layer_types": ["chunked_attention"] * 13}, "layer_types"),
        ({"sliding_window": None}, "no sliding_window"),
        ({"sliding_window": 0}, "sliding_window"),
        ({"attn_logit_softcapping": 0}, "attn_logit_softcapping"),
        ({"final_logit_softcapping": -1.0}, "final_logit_softcapping"),
        ({"query_pre_attn_scalar": 0}, "query_pre_attn_scalar"),
        ({"head_dim": 7}, "7 numbers of each head"),
        ({"hidden_size": 50}, "no multiple"),
        ({"num_key_value_heads": 3}, "num_key_value_heads 3"),
        ({"vision_config": {"hidden_size": 4}}, "vision_config"),
        ({"model_type": "gemma3_text", "attn_logit_softcapping": 50.0}, "attn_logit_softcapping=50.0"),
        ({"model_type": "gemma3_text", "sliding_window_pattern": 0}, "sliding_window_pattern=0"),
        ({"model_type": "gemma3_text", "rope_parameters": {"rope_theta": 5.0}}, "rope_parameters="),
        (
            {"model_type": "gemma3_text", "rope_parameters": {"sliding_attention": {"rope_type": "yarn", "factor": 2}}},
            "sliding layers",
        ),
    ],
)
def test_what_cant_be_honoured_is_refused_by_name(keys: dict[str, Any], named: str, tmp_path: Path) -> None:
    refused(SIZES | keys, tmp_path, named)
