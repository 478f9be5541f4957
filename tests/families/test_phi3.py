"""Phi-3's config.json: what files leave out, longrope as it was and is spelt, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hf_config import read, refused, theirs

SIZES: dict[str, Any] = {
    "model_type": "phi3", "hidden_size": 48, "intermediate_size": 72, "num_hidden_layers": 2,
    "num_attention_heads": 6, "vocab_size": 131, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
}  # fmt: skip
LONG: dict[str, Any] = {
    "max_position_embeddings": 131072, "original_max_position_embeddings": 4096, "rope_theta": 10000.0,
    "rope_scaling": {
        "type": "longrope", "short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [1.0, 4.0, 20.0, 60.0],
    },
}  # fmt: skip


def test_what_a_file_leaves_out_is_what_transformers_assumes(tmp_path: Path) -> None:
    ours, expected = read(SIZES, tmp_path), theirs(SIZES)
    assert ours.kv_heads == expected.num_key_value_heads
    for name in ("max_position_embeddings", "original_max_position_embeddings", "sliding_window", "rms_norm_eps"):
        assert getattr(ours, name) == getattr(expected, name), name
    assert ours.rope_theta == expected.rope_parameters["rope_theta"]
    assert ours.partial_rotary_factor == expected.rope_parameters["partial_rotary_factor"]


def test_longrope_as_the_published_files_spell_it(tmp_path: Path) -> None:
    found = SIZES | LONG | {"full_attn_mod": 1, "interpolate_factor": 1, "auto_map": {"AutoConfig": "x.Y"}}
    found |= {"lm_head_bias": False, "mlp_bias": False, "attention_bias": False}
    ours = read(found, tmp_path)
    assert ours.rope_scaling.factor == 32.0
    assert ours.rope_scaling.long_factor == (1.0, 4.0, 20.0, 60.0)
    written = ours.to_hf()
    # transformers 4 takes a table of these three alone.
    assert written["rope_scaling"] == LONG["rope_scaling"]
    assert written["original_max_position_embeddings"] == 4096
    again, expected = theirs(written), theirs(SIZES | LONG)
    assert again.rope_parameters == expected.rope_parameters
    assert read(written, tmp_path).to_hf() == written
    assert read(found | {"rope_scaling": LONG["rope_scaling"] | {"type": "su"}}, tmp_path) == ours


def test_a_share_of_each_head_as_older_files_spell_it(tmp_path: Path) -> None:
    found = SIZES | {"partial_rotary_factor": 0.75, "rope_theta": 500.0}
    ours, expected = read(found, tmp_path), theirs(found)
    assert ours.rotated == 6
    assert ours.partial_rotary_factor == expected.rope_parameters["partial_rotary_factor"]
    assert theirs(ours.to_hf()).rope_parameters == expected.rope_parameters
    assert ours.to_hf()["partial_rotary_factor"] == 0.75


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope scaling linear"),
        (LONG | {"rope_scaling": LONG["rope_scaling"] | {"short_factor": [1.0]}}, "short_factor has 1 numbers"),
        (LONG | {"rope_scaling": {"type": "longrope"}}, "longrope needs"),
        (LONG | {"rope_scaling": LONG["rope_scaling"] | {"long_factor": [1, 2, 3, 0]}}, "long_factor"),
        (LONG | {"partial_rotary_factor": 0.5}, "short_factor has 4 numbers where heads have 2"),
        (
            LONG | {"rope_scaling": LONG["rope_scaling"] | {"original_max_position_embeddings": 99}},
            "original_max_position_embeddings is said to be 4096",
        ),
        ({"partial_rotary_factor": 0.9}, "7 numbers of each head"),
        ({"partial_rotary_factor": 1.5}, "partial_rotary_factor"),
        ({"full_attn_mod": 2}, "full_attn_mod=2"),
        ({"attention_bias": True}, "attention_bias=True"),
        ({"lm_head_bias": True}, "lm_head_bias=True"),
        ({"sliding_window": -1}, "sliding_window"),
        ({"hidden_act": "snake"}, "hidden_act"),
    ],
)
def test_what_cant_be_honoured_is_refused_by_name(keys: dict[str, Any], named: str, tmp_path: Path) -> None:
    refused(SIZES | keys, tmp_path, named)
