"""GPT-NeoX's config.json and its tensors joined head by head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hf_config import read, refused, theirs
from safetensors.torch import load_file, save_file

from bedplate.errors import WeightsError
from bedplate.families import gpt_neox
from bedplate.families.gpt_neox_config import GPTNeoXConfig
from bedplate.families.model import Model, load
from bedplate.families.weights import interleaved
from bedplate.nn.initialise import initialise

SIZES: dict[str, Any] = {
    "model_type": "gpt_neox", "hidden_size": 48, "intermediate_size": 72, "num_hidden_layers": 2,
    "num_attention_heads": 3, "vocab_size": 131,
}  # fmt: skip


def test_what_a_file_leaves_out_is_what_transformers_assumes(tmp_path: Path) -> None:
    ours, expected = read(SIZES, tmp_path), theirs(SIZES)
    for name in (
        "max_position_embeddings", "hidden_act", "layer_norm_eps", "use_parallel_residual", "attention_bias",
        "tie_word_embeddings", "bos_token_id", "eos_token_id",
    ):  # fmt: skip
        assert getattr(ours, name) == getattr(expected, name), name
    assert ours.rotary_pct == expected.rope_parameters["partial_rotary_factor"] == 0.25


def test_pythias_spelling(tmp_path: Path) -> None:
    found = SIZES | {"rotary_pct": 0.5, "rotary_emb_base": 500, "rope_scaling": None, "attention_probs_dropout_prob": 0}
    ours, expected = read(found, tmp_path), theirs(found)
    assert ours.rotated == 8
    written = ours.to_hf()
    assert theirs(written).rope_parameters == expected.rope_parameters
    assert written["rotary_emb_base"] == 500
    assert written["rotary_pct"] == 0.5
    assert read(written, tmp_path) == ours


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"rotary_pct": 0.3, "partial_rotary_factor": 0.5}, "rotary_pct=0.3 and partial_rotary_factor=0.5"),
        ({"rotary_emb_base": 10, "rope_theta": 20.0}, "rotary_emb_base=10 and rope_theta=20.0"),
        ({"rope_theta": 500.0}, "rotary_emb_base=10000.0 and rope_theta=500.0"),
        ({"partial_rotary_factor": 0.5}, "rotary_pct=0.25 and partial_rotary_factor=0.5"),
        ({"rotary_pct": float("nan")}, "rotary_pct"),
        ({"use_parallel_residual": None}, "use_parallel_residual is null"),
        ({"rotary_pct": 0.5, "rope_parameters": {"partial_rotary_factor": 0.25}}, "partial_rotary_factor"),
        ({"rotary_pct": 0.2}, "3 numbers of each head"),
        ({"rotary_pct": 0.0}, "rotary_pct"),
        ({"num_key_value_heads": 1}, "num_key_value_heads=1"),
        ({"head_dim": 32}, "head_dim=32"),
        ({"num_attention_heads": 5}, "no multiple"),
        ({"sliding_window": 4}, "sliding_window=4"),
    ],
)
def test_what_cant_be_honoured_is_refused_by_name(keys: dict[str, Any], named: str, tmp_path: Path) -> None:
    refused(SIZES | keys, tmp_path, named)


def test_joined_head_by_head_and_parted_again() -> None:
    line = interleaved(["q", "k", "v"], "qkv", heads=3)
    q, k, v = (torch.arange(12).view(6, 2) + 100 * i for i in range(3))
    (joined,) = line.written([q, k, v])
    assert joined[:, 0].tolist() == [
        0, 2, 100, 102, 200, 202, 4, 6, 104, 106, 204, 206, 8, 10, 108, 110, 208, 210,
    ]  # fmt: skip
    assert all(torch.equal(a, b) for a, b in zip(line.read([joined]), (q, k, v), strict=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = GPTNeoXConfig.from_hf(SIZES)
    net = gpt_neox.build(config)
    initialise(net, 0)
    Model(config, net).save(tmp_path)
    return tmp_path


def test_buffers_and_the_heads_other_name_are_read(folder: Path) -> None:
    before = load(folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors.pop("embed_out.weight")
    for i in range(2):
        at = f"gpt_neox.layers.{i}.attention"
        tensors |= {f"{at}.bias": torch.ones(1, 1, 4, 4), f"{at}.masked_bias": torch.tensor(-1e9)}
        tensors[f"{at}.rotary_emb.inv_freq"] = torch.ones(2)
    save_file(tensors, folder / "model.safetensors")
    tokens = torch.arange(10)[None]
    assert torch.equal(load(folder)(tokens), before(tokens))


def test_a_misshapen_joined_tensor_is_named(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = "gpt_neox.layers.1.attention.query_key_value.weight"
    tensors[name] = tensors[name][:48].clone()
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=rf"{name} is \[48, 48\] where the configuration says \[144, 48\]"):
        load(folder)
