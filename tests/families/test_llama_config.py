"""The Llama family's config.json: read as transformers reads it, written so that it reads it, or refused by name."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bedplate.errors import WeightsError
from bedplate.families.llama_config import LlamaConfig, RopeScalingConfig
from bedplate.families.model import read_config

SIZES: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 64,
    "vocab_size": 100,
}


def _theirs(found: dict[str, Any]) -> Any:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CONFIG_MAPPING[found["model_type"]].from_dict(found)


@pytest.mark.parametrize("model_type", ["llama", "mistral", "qwen2", "qwen3"])
def test_what_a_file_leaves_out_is_what_transformers_assumes(model_type: str) -> None:
    found = SIZES | {"model_type": model_type}
    ours, theirs = LlamaConfig.from_hf(found), _theirs(found)
    assert ours.kv_heads == theirs.num_key_value_heads
    assert ours.head_size == (getattr(theirs, "head_dim", None) or 2)
    assert ours.rope_theta == theirs.rope_parameters["rope_theta"]
    assert ours.rms_norm_eps == theirs.rms_norm_eps
    assert ours.max_position_embeddings == theirs.max_position_embeddings
    assert ours.tie_word_embeddings == theirs.tie_word_embeddings
    assert set(ours.windows or (None,)) == {getattr(theirs, "sliding_window", None)}


@pytest.mark.parametrize("model_type", ["llama", "mistral"])
def test_null_key_heads_are_as_many_as_queries(model_type: str) -> None:
    found = SIZES | {"model_type": model_type, "num_key_value_heads": None, "sliding_window": None}
    assert LlamaConfig.from_hf(found).kv_heads == 64
    assert LlamaConfig.from_hf(found).windows is None


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ({"hidden_act": None, "pretraining_tp": 2}, "pretraining_tp=2"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5"),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ({"attention_sink": True}, "attention_sink=True"),
        ({"attention_sink": 4, "logit_scale": 0.1}, "attention_sink=4, logit_scale=0.1"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"auto_map": {"AutoModel": "modeling_x.X"}}, "auto_map"),
        ({"original_max_position_embeddings": 4096}, "original_max_position_embeddings"),
        ({"rope_scaling": {"type": "longrope", "factor": 2.0}}, "longrope needs short_factor"),
        ({"rope_scaling": {"type": "mrope", "mrope_section": [1, 2]}}, "rope type 'mrope'"),
        ({"rope_scaling": {"type": "default", "mrope_section": [1, 2]}}, "mrope_section"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0, "short_factor": [1.0]}}, "short_factor"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling.factor"),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, "rope_scaling.factor"),
        ({"rope_scaling": "linear"}, "rope_scaling='linear'"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 10.0}, "rope_theta": 20.0}, "rope_theta"),
        ({"rope_parameters": {"rope_type": "default"}, "rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type"),
        ({"rope_theta": "much"}, "rope_theta"),
        ({"rope_theta": float("nan")}, "rope_theta"),
        ({"sliding_window": 8}, "sliding_window=8"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ({"model_type": "mistral", "layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ({"model_type": "mistral", "sliding_window": 0}, "windows"),
        ({"model_type": "mistral", "sliding_window": -4}, "windows"),
        ({"model_type": "mistral", "sliding_window": "wide"}, "windows"),
        ({"model_type": "mistral", "attention_bias": True}, "mistral"),
        ({"model_type": "qwen2", "mlp_bias": True}, "qwen2"),
        ({"model_type": "qwen2", "use_sliding_window": True, "layer_types": ["full_attention"]}, "windows"),
        ({"model_type": "qwen2", "use_sliding_window": True, "layer_types": 3}, "layer_types=3"),
        ({"model_type": "qwen2", "use_sliding_window": True, "layer_types": [[], {}]}, "layer_types"),
        ({"model_type": "qwen2", "use_sliding_window": True, "layer_types": ["chunked_attention"] * 2}, "chunked"),
        ({"model_type": "qwen2", "use_sliding_window": True, "max_window_layers": "all"}, "max_window_layers"),
        ({"model_type": "mamba"}, "model_type 'mamba'"),
        ({"model_type": None}, "model_type None"),
        ({"model_type": ["llama"]}, "model_type"),
        ({"num_hidden_layers": None}, "num_hidden_layers"),
        ({"num_hidden_layers": "two"}, "num_hidden_layers"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"num_hidden_layers": 10**12}, "num_hidden_layers"),
        ({"num_hidden_layers": 10**12, "model_type": "mistral"}, "num_hidden_layers"),
        ({"hidden_size": None}, "hidden_size"),
        ({"hidden_size": -64}, "hidden_size"),
        ({"vocab_size": 1.5}, "vocab_size"),
        ({"num_attention_heads": 48, "model_type": "mistral"}, "num_attention_heads 48"),
        ({"num_attention_heads": 48, "head_dim": 8}, "num_attention_heads 48"),
        ({"num_attention_heads": 8, "num_key_value_heads": 3}, "num_key_value_heads 3"),
        ({"head_dim": 7}, "head_dim 7"),
        ({"rms_norm_eps": 0}, "rms_norm_eps"),
        ({"eos_token_id": [1, "two"]}, "eos_token_id"),
        ({"eos_token_id": 2.0}, "eos_token_id"),
        ({"eos_token_id": "2"}, "eos_token_id"),
        ({"eos_token_id": True}, "eos_token_id"),
        ({"eos_token_id": 100}, "eos_token_id 100 is beyond the 100 rows"),
        ({"bos_token_id": 10**9}, "bos_token_id"),
        ({"pad_token_id": -2}, "pad_token_id"),
        ({"rope_theta": 1.0, "rope_scaling": {"type": "yarn", "factor": 2.0}}, "rope_theta"),
        ({"rope_theta": 0.5}, "rope_theta"),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0, "beta_fast": 0}}, "rope_scaling.beta_fast"),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0, "beta_slow": -1}}, "rope_scaling.beta_slow"),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0, "mscale": 1, "mscale_all_dim": -9}}, "mscale_all_dim"),
        ({"rope_scaling": {"type": "llama3", "factor": 2.0, "low_freq_factor": 0}}, "low_freq_factor"),
        ({"rope_scaling": {"type": "llama3", "factor": 2.0, "high_freq_factor": 1.0}}, "high_freq_factor"),
        ({"rope_scaling": {"type": "dynamic", "factor": 1e300}}, "rope_scaling.factor"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}, "head_dim": 2}, "head_dim 2"),
        ({"max_position_embeddings": 10**400}, "max_position_embeddings"),
        ({"intermediate_size": 10**18}, "intermediate_size 1000000000000000000"),
        ({"hidden_size": 10**18, "head_dim": 8}, "hidden_size 1000000000000000000"),
        ({"vocab_size": 10**18}, "vocab_size 1000000000000000000"),
        ({"head_dim": 10**18}, "head_dim 1000000000000000000"),
        ({"model_type": "mistral", "sliding_window": 10**30}, "windows"),
    ],
)
def test_what_cant_be_honoured_is_refused_by_name(keys: dict[str, Any], named: str, tmp_path: Path) -> None:
    found = SIZES | {"num_attention_heads": 8, "num_key_value_heads": 4} | keys
    (tmp_path / "config.json").write_text(json.dumps(found))
    with pytest.raises(WeightsError) as caught:
        read_config(tmp_path)
    assert named in caught.value.problem
    assert str(tmp_path / "config.json") in caught.value.problem
    assert caught.value.fix


@pytest.mark.parametrize(
    "keys",
    [
        {"use_cache": True, "torch_dtype": "bfloat16", "attention_dropout": 0.1, "transformers_version": "4.40.0"},
        {"attention_sink": False, "logit_scale": None, "extras": [], "more": {}, "min_length": 0},
        {"rope_scaling": None, "rope_theta": 10000},
        {"rope_scaling": {"type": "default"}},
        {"hidden_act": "swish", "pretraining_tp": 1},
        {"pad_token_id": -1},
        {"sliding_window": 4096, "use_sliding_window": False},
        {"sliding_window": None, "layer_types": ["full_attention", "full_attention"]},
    ],
)
def test_what_changes_nothing_is_let_through(keys: dict[str, Any]) -> None:
    found = SIZES | {"num_attention_heads": 8}
    assert LlamaConfig.from_hf(found | keys) == LlamaConfig.from_hf(found)


@st.composite
def configurations(draw: st.DrawFn) -> LlamaConfig:
    """Any configuration of the family that its own checks allow."""
    model_type = draw(st.sampled_from(["llama", "mistral", "qwen2", "qwen3"]))
    layers, kv, groups = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    bias, window = draw(st.booleans()), draw(st.none() | st.integers(1, 9))
    windows = None
    if window is not None and model_type == "mistral":
        windows = (window,) * layers
    elif window is not None and model_type.startswith("qwen"):
        windows = tuple(draw(st.lists(st.sampled_from([None, window]), min_size=layers, max_size=layers)))
        windows = windows if any(windows) else None
    kind = draw(st.sampled_from([None, "linear", "dynamic", "llama3", "yarn"]))
    scaling = None
    if kind is not None:
        keys: dict[str, Any] = {"rope_type": kind, "factor": draw(st.sampled_from([1.5, 8.0]))}
        if kind in ("llama3", "yarn") and draw(st.booleans()):
            keys["original_max_position_embeddings"] = 64
        if kind == "yarn" and draw(st.booleans()):
            keys |= {"beta_fast": 16.0, "truncate": False, "attention_factor": 1.25}
        scaling = RopeScalingConfig(**keys)
    return LlamaConfig(
        model_type=model_type,
        hidden_size=kv * groups * 4,
        intermediate_size=draw(st.integers(1, 50)),
        num_hidden_layers=layers,
        num_attention_heads=kv * groups,
        num_key_value_heads=draw(st.sampled_from([None, kv])),
        head_dim=draw(st.sampled_from([None, 6, 10])),
        rms_norm_eps=draw(st.sampled_from([1e-6, 1e-5])),
        max_position_embeddings=draw(st.sampled_from([64, 1024])),
        rope_theta=draw(st.sampled_from([10000.0, 5e5])),
        rope_scaling=scaling,
        tie_word_embeddings=draw(st.booleans()),
        qkv_bias=model_type == "qwen2" or (model_type != "mistral" and bias),
        out_bias=model_type in ("llama", "qwen3") and bias,
        mlp_bias=model_type == "llama" and draw(st.booleans()),
        qk_norm=model_type == "qwen3",
        windows=windows,
        vocab_size=draw(st.integers(4, 300)),
        bos_token_id=draw(st.none() | st.integers(0, 3)),
        eos_token_id=draw(st.none() | st.integers(0, 3) | st.just((1, 2))),
        pad_token_id=draw(st.none() | st.integers(0, 3)),
    )


@settings(max_examples=150, deadline=None)
@given(configurations())
def test_what_is_written_reads_the_same_here_and_in_transformers(c: LlamaConfig) -> None:
    written = json.loads(json.dumps(c.to_hf()))
    again = LlamaConfig.from_hf(written)
    assert again.to_hf() == c.to_hf()
    for name in type(c).model_fields:
        if name not in ("head_dim", "num_key_value_heads", "rope_scaling"):
            assert getattr(again, name) == getattr(c, name), name
    assert (again.head_size, again.kv_heads) == (c.head_size, c.kv_heads)

    theirs = _theirs(written)
    assert theirs.num_key_value_heads == c.kv_heads
    assert theirs.head_dim == c.head_size
    eos = list(c.eos_token_id) if isinstance(c.eos_token_id, tuple) else c.eos_token_id
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (c.bos_token_id, eos, c.pad_token_id)
    assert theirs.rope_parameters["rope_theta"] == c.rope_theta
    assert theirs.rope_parameters["rope_type"] == (c.rope_scaling.rope_type if c.rope_scaling else "default")
    if hasattr(theirs, "layer_types"):
        window = theirs.sliding_window
        assert [window if t == "sliding_attention" else None for t in theirs.layer_types] == list(
            c.windows or [None] * c.num_hidden_layers
        )
    elif c.model_type == "mistral":
        assert {theirs.sliding_window} == set(c.windows or [None])
    # Their own file of it reads the same, too.
    assert LlamaConfig.from_hf(theirs.to_dict()).to_hf() == c.to_hf()


def test_written_config_has_both_spellings_of_a_scaling() -> None:
    scaling = RopeScalingConfig(rope_type="llama3", factor=8.0)
    written = LlamaConfig(**SIZES | {"num_attention_heads": 8}, rope_scaling=scaling, rope_theta=5e5).to_hf()
    said = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 2048,
    }
    assert written["rope_scaling"] == said
    assert written["rope_parameters"] == {**said, "rope_theta": 5e5}
    assert written["rope_theta"] == 5e5


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"qkv_bias": True}, "can't say"),
        ({"qk_norm": True}, "those that can: qwen3"),
        ({"windows": (4, 4)}, "those that can: mistral"),
        ({"model_type": "mistral", "windows": (4, None)}, "can't say"),
        ({"model_type": "qwen2"}, "those that can: llama"),
        ({"model_type": "qwen2", "qkv_bias": True, "windows": (4, 8)}, "can't say"),
        ({"windows": (None,)}, "1 entries for 2 layers"),
        ({"head_size": 8}, "head_size"),
    ],
)
def test_semantics_that_a_name_cant_say_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LlamaConfig(**{**SIZES, "num_attention_heads": 8, **keys})


def test_the_configuration_alone_imports_no_torch() -> None:
    code = "import sys, bedplate.families.llama_config, bedplate.families.llama_hf; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
