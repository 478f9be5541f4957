"""What a damaged, hostile or merely careless config.json says: refused by name and at once, never built or ignored."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bedplate.errors import InputError, WeightsError
from bedplate.families.building import build_empty
from bedplate.families.family_config import NEUTRAL
from bedplate.families.gpt2_config import GPT2Config
from bedplate.families.llama_config import LlamaConfig
from bedplate.families.model import load
from bedplate.families.opening import load_any
from bedplate.families.registry import FAMILIES
from bedplate.families.weights import fused

SIZES = {"hidden_size": 48, "intermediate_size": 72, "num_hidden_layers": 2, "num_attention_heads": 6}
LLAMA: dict[str, Any] = {"model_type": "llama", "vocab_size": 131, **SIZES}
GPT2: dict[str, Any] = {"model_type": "gpt2", "vocab_size": 131, "n_embd": 48, "n_layer": 2, "n_head": 6,
                        "n_positions": 16, "bos_token_id": 0, "eos_token_id": 1}  # fmt: skip
READERS = {"llama": (LlamaConfig, LLAMA), "gpt2": (GPT2Config, GPT2)}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("said", [False, 0, None])
def test_a_decoder_that_sees_ahead_is_refused(name: str, said: object) -> None:
    """transformers computes another mask where the key is falsy, and ours where it is true or absent."""
    config, found = READERS[name]
    assert config.from_hf(found | {"is_causal": True}) == config.from_hf(found)
    with pytest.raises(WeightsError, match=f"is_causal={said!r}"):
        config.from_hf(found | {"is_causal": said})


@pytest.mark.parametrize("name", READERS)
def test_a_key_of_0_is_a_number_like_any_other(name: str) -> None:
    config, found = READERS[name]
    for zero in (0, 0.0):
        with pytest.raises(WeightsError, match="logit_bias_scale=0"):
            config.from_hf(found | {"logit_bias_scale": zero})
    nothing = {"a_switch": False, "a_list": [], "a_table": {}, "an_option": None}
    whole_dump = {key: values[0] for key, values in NEUTRAL.items()}
    assert config.from_hf(found | nothing | whole_dump) == config.from_hf(found)
    with pytest.raises(WeightsError, match=r"repetition_penalty=1\.3"):
        config.from_hf(found | {"repetition_penalty": 1.3})


def test_gpt2s_first_files_say_more_than_they_mean() -> None:
    older = {"n_special": 0, "predict_special_tokens": True, "output_past": True, "n_ctx": 16}
    assert GPT2Config.from_hf(GPT2 | older) == GPT2Config.from_hf(GPT2)


def test_gpt2_of_uneven_heads_is_refused() -> None:
    with pytest.raises(WeightsError, match="n_embd 48 is no multiple of n_head 5"):
        GPT2Config.from_hf(GPT2 | {"n_head": 5})


def test_null_is_silence_only_where_it_means_the_same() -> None:
    """transformers takes null for false, or for no number at all."""
    assert GPT2Config.from_hf(GPT2 | {"n_inner": None, "pad_token_id": None}) == GPT2Config.from_hf(GPT2)
    for key in ("scale_attn_weights", "tie_word_embeddings", "layer_norm_epsilon"):
        with pytest.raises(WeightsError, match=f"{key} is null"):
            GPT2Config.from_hf(GPT2 | {key: None})


def test_sizes_that_only_torch_refuses_are_an_error_of_the_file() -> None:
    # Every product of two sizes is small enough, and this table of positions is not.
    config = GPT2Config.from_hf(GPT2).model_copy(update={"max_position_embeddings": 2**62})
    with pytest.raises(WeightsError, match=r"a/config\.json: no model has these sizes"):
        build_empty(FAMILIES["gpt2"], config, "a/config.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2)).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(GPT2))
    return tmp_path


def test_more_layers_than_tensors_are_refused_before_any_is_built(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(GPT2 | {"n_layer": 10_000}))
    start = time.perf_counter()
    with pytest.raises(WeightsError, match="10000 blocks and experts, and the checkpoint has 28 tensors"):
        load_any(folder)
    assert time.perf_counter() - start < 1  # ten thousand blocks take many seconds


def test_more_tokens_than_positions_are_refused(folder: Path) -> None:
    model = load(folder, device="cpu")
    tokens = torch.zeros(1, 16, dtype=torch.int64)
    cache = model.new_cache()
    assert model(tokens, cache=cache).shape == (1, 16, 131)
    with pytest.raises(InputError, match="17 tokens in a row, where the model has 16 positions"):
        model(tokens[:, :1], cache=cache)
    with pytest.raises(InputError, match="17 tokens"):
        model(torch.zeros(1, 17, dtype=torch.int64))


def test_what_is_parted_on_reading_doesnt_keep_the_whole() -> None:
    line = fused(["q", "k", "v"], "qkv", [2, 2, 2])
    for part in line.read([torch.arange(18.0).view(6, 3)]):
        assert part.untyped_storage().nbytes() == part.nbytes == 24
