"""A model out of a GGUF is the model that `transformers` reads out of it; what we don't know is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFWriter
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs.text import TextTokenizer
from bedplate.errors import TokenizerError, WeightsError
from bedplate.families.gguf_import import read_model
from bedplate.families.gguf_names import (
    LAYER_NAMES,
    llama3_factors,
    llama3_parameters,
    to_gguf,
    to_halves,
    to_hugging_face,
    to_interleaved,
)
from bedplate.families.gguf_reader import GGUF
from bedplate.families.gguf_tokenizer import GGUFTokenizer

SPEECH = """Four score and seven years ago our fathers brought forth, upon this continent, a new nation, conceived in
Liberty, and dedicated to the proposition that all men are created equal. Now we are engaged in a great civil war,
testing whether that nation, or any nation so conceived, and so dedicated, can long endure. We are met on a great
battle field of that war. We have come to dedicate a portion of it, as a final resting place for those who here gave
their lives, that that nation might live. It is altogether fitting and proper that we should do this. But, in a larger
sense, we can not dedicate, we can not consecrate, we can not hallow this ground. The brave men, living and dead, who
struggled here, have consecrated it far above our poor power to add or detract. The world will little note, nor long
remember what we say here, but it can never forget what they did here."""


@pytest.fixture(scope="module")
def theirs(smollm2_gguf: Path) -> Any:
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(smollm2_gguf.parent, gguf_file=smollm2_gguf.name, dtype=torch.float32)
    return loaded.eval()


@pytest.mark.slow
def test_tensors_logits_and_greedy_tokens_equal_transformers(smollm2_gguf, theirs):
    expected = theirs.state_dict()
    with GGUF.open(smollm2_gguf) as file:
        found = read_model(file)
        seen = {name: torch.equal(tensor, expected[name]) for name, tensor in found.tensors()}
        assert all(seen.values())
        assert set(expected) - set(seen) == {"lm_head.weight"}  # tied
        ours = found.build()
    tokens = torch.tensor([ours.tokenizer.encode(SPEECH)[:200]])
    assert tokens.shape[1] == 200
    with torch.inference_mode():
        a, b = ours(tokens), theirs(tokens).logits
        assert (a - b).abs().max() <= 1e-3
        assert torch.equal(a.argmax(-1), b.argmax(-1))

        prompt = tokens[:, :32]
        made = theirs.generate(prompt, do_sample=False, max_new_tokens=64, min_new_tokens=64, pad_token_id=2)
        cache = ours.new_cache(96)
        last, text = prompt, prompt
        for _ in range(64):
            logits = ours(last, cache=cache)[:, -1]
            logits[:, 2] = -torch.inf  # as min_new_tokens does
            last = logits.argmax(-1, keepdim=True)
            text = torch.cat([text, last], dim=1)
    assert torch.equal(text, made)


Make = Callable[..., GGUF]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A tiny two-layer GGUF without a tokenizer. `keys` and `tensors` change it (None removes), `arch` renames it."""

    def opened(arch: str = "llama", keys: dict[str, Any] | None = None, tensors: dict[str, Any] | None = None) -> GGUF:
        every: dict[str, Any] = {"context_length": 128, "embedding_length": 16, "block_count": 2}
        every |= {"feed_forward_length": 24, "attention.head_count": 4, "attention.head_count_kv": 2}
        every |= {"attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 10000.0} | (keys or {})
        random = np.random.default_rng(0)
        shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (40, 16), "output_norm.weight": (16,)}
        for layer in range(2):
            block = {"attn_q": (16, 16), "attn_k": (8, 16), "attn_v": (8, 16), "attn_output": (16, 16)}
            block |= {"ffn_gate": (24, 16), "ffn_up": (24, 16), "ffn_down": (16, 24), "attn_norm": (16,)}
            block |= {"ffn_norm": (16,)}
            shapes |= {f"blk.{layer}.{name}.weight": shape for name, shape in block.items()}
        arrays: dict[str, Any] = {name: random.standard_normal(shape, np.float32) for name, shape in shapes.items()}
        arrays |= tensors or {}
        path = tmp_path / "tiny.gguf"
        writer = GGUFWriter(path, arch)
        for key, value in every.items():
            kind = {bool: "bool", int: "uint32", float: "float32", str: "string", list: "array"}.get(type(value))
            if kind is not None:
                getattr(writer, f"add_{kind}")(f"{arch}.{key}", value)
        for name, array in arrays.items():
            if array is not None:
                writer.add_tensor(name, np.ascontiguousarray(array, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return GGUF.open(path)

    return opened


def test_config_is_read_with_decimals_as_they_were_meant(make):
    found = read_model(make(keys={"rope.dimension_count": 4, "vocab_size": 40}))
    config = found.config
    assert config.rms_norm_eps == 1e-5
    assert (config.head_size, config.kv_heads, config.vocab_size, config.tie_word_embeddings) == (4, 2, 40, True)
    assert found.notes == ("the file holds no tokenizer",)
    assert found.build()(torch.arange(10)[None]).shape == (1, 10, 40)


def test_an_output_matrix_is_a_head_of_its_own(make):
    found = read_model(make(tensors={"output.weight": np.ones((40, 16))}))
    assert not found.config.tie_word_embeddings
    assert torch.equal(found.build().head_weight, torch.ones(40, 16))


def test_a_window_makes_it_mistral(make):
    config = read_model(make(keys={"attention.sliding_window": 32})).config
    assert (config.model_type, config.windows) == ("mistral", (32, 32))
    assert read_model(make(keys={"attention.sliding_window": 128})).config.model_type == "llama"


def test_rope_scalings(make):
    linear = read_model(make(keys={"rope.scaling.type": "linear", "rope.scaling.factor": 2.0})).config.rope_scaling
    assert (linear.rope_type, linear.factor) == ("linear", 2.0)
    assert read_model(make(keys={"rope.scale_linear": 4.0})).config.rope_scaling.factor == 4.0
    yarn = {"type": "yarn", "factor": 4.0, "original_context_length": 32}
    found = read_model(make(keys={f"rope.scaling.{k}": v for k, v in yarn.items()})).config.rope_scaling
    assert (found.rope_type, found.original_max_position_embeddings) == ("yarn", 32)
    assert (
        read_model(make(keys={"rope.scaling.type": "linear", "rope.scaling.factor": 1.0})).config.rope_scaling is None
    )


def test_llama3_factors_become_parameters_again(make):
    wide = {"attention.key_length": 64, "attention.value_length": 64, "rope.freq_base": 500000.0}
    rows = {"attn_q": (256, 16), "attn_k": (128, 16), "attn_v": (128, 16), "attn_output": (16, 256)}
    tensors: dict[str, Any] = {
        f"blk.{i}.{name}.weight": np.zeros(shape) for i in range(2) for name, shape in rows.items()
    }
    factors = llama3_factors(500000.0, 64, 8.0, 1.0, 4.0, 8192)
    found = read_model(make(keys=wide, tensors=tensors | {"rope_freqs.weight": factors}))
    scaling = found.config.rope_scaling
    assert (scaling.rope_type, scaling.factor, scaling.original_max_position_embeddings) == ("llama3", 8.0, 8192)
    assert "Llama 3" in found.notes[0]
    plain = read_model(make(keys=wide, tensors=tensors | {"rope_freqs.weight": np.ones(32)}))
    assert plain.config.rope_scaling is None
    factors[3] = 5.0
    with pytest.raises(WeightsError, match=r"rope_freqs\.weight holds factors"):
        read_model(make(keys=wide, tensors=tensors | {"rope_freqs.weight": factors}))


REFUSED = {
    "architecture": ({"arch": "gemma2"}, "general.architecture is 'gemma2'"),
    "unknown key": ({"keys": {"attn_logit_softcapping": 50.0}}, "llama.attn_logit_softcapping = 50.0"),
    "missing key": ({"keys": {"embedding_length": None}}, "llama.embedding_length is missing"),
    "key a list": ({"keys": {"feed_forward_length": [24, 24]}}, "a list of 2, not one number"),
    "zero heads": ({"keys": {"attention.head_count": 0}}, "head_count is 0"),
    "heads that don't divide": ({"keys": {"attention.head_count": 3}}, "3 heads don't divide the width 16"),
    "half rotary": ({"keys": {"rope.dimension_count": 2}}, "rope.dimension_count is 2"),
    "experts": ({"keys": {"expert_count": 8}}, "mixture of experts"),
    "encoder": ({"keys": {"attention.causal": False}}, "encoder"),
    "many layers": ({"keys": {"block_count": 2**32 - 1}}, "block_count is 4,294,967,295"),
    "vocabulary": ({"keys": {"vocab_size": 41}}, "vocab_size is 41, the embedding has 40"),
    "rope type": ({"keys": {"rope.scaling.type": "longrope"}}, "'longrope' isn't supported"),
    "attention factor": ({"keys": {"rope.scaling.attn_factor": 1.5}}, "attn_factor = 1.5"),
    "window of qwen2": ({"arch": "qwen2", "keys": {"attention.sliding_window": 32}}, "says not which layers"),
    "no embedding": ({"tensors": {"token_embd.weight": None}}, "token_embd.weight is missing"),
    "unknown tensor": ({"tensors": {"blk.0.attn_sinks.weight": np.ones(4)}}, "unknown tensors: blk.0.attn_sinks"),
    "missing tensor": ({"tensors": {"blk.1.ffn_up.weight": None}}, "missing: model.layers.1.mlp.up_proj.weight"),
    "layer too many": ({"tensors": {"blk.2.ffn_norm.weight": np.ones(16)}}, "unknown: model.layers.2"),
    "misshapen": ({"tensors": {"blk.0.attn_k.weight": np.ones((16, 16))}}, "misshapen: model.layers.0.self_attn.k"),
    "not a number": ({"tensors": {"blk.0.attn_q.weight": np.full((16, 16), np.nan)}}, "blk.0.attn_q.weight holds"),
    "infinite": ({"tensors": {"output_norm.weight": np.full(16, np.inf)}}, "output_norm.weight holds values"),
    "bias without the others": ({"tensors": {"blk.0.attn_q.bias": np.ones(16)}}, "missing: model.layers.0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_we_do_not_know_is_refused_by_name(make, name):
    changes, message = REFUSED[name]
    with make(**changes) as file, pytest.raises(WeightsError, match=message.replace("[", r"\[")) as caught:
        read_model(file).build()
    assert "tiny.gguf" in caught.value.problem


def test_more_tokens_than_embeddings_are_refused(make):
    tokens = {chr(0x4E00 + i): i for i in range(41)}
    text = TextTokenizer(json.dumps({"model": {"type": "BPE", "vocab": tokens, "merges": []}}))
    with make() as file, pytest.raises(TokenizerError, match="41 tokens and the model 40 rows"):
        replace(read_model(file), tokenizer=GGUFTokenizer(text, (), ())).build()


@given(heads=st.integers(1, 5), half=st.integers(1, 6), columns=st.integers(1, 3))
def test_the_two_layouts_are_inverse_and_pair_the_same_rows(heads, half, columns):
    rows = np.arange(heads * 2 * half * columns, dtype=np.float32).reshape(-1, columns)
    assert np.array_equal(to_interleaved(to_halves(rows, heads), heads), rows)
    inside = to_halves(rows, heads).reshape(heads, 2, half, columns)
    assert np.array_equal(np.stack([inside[:, 0], inside[:, 1]], axis=2).reshape(rows.shape), rows)


@given(
    theta=st.sampled_from([10000.0, 500000.0, 1000000.0]),
    head_dim=st.sampled_from([64, 96, 128]),
    factor=st.sampled_from([2.0, 8.0, 32.0]),
    high=st.sampled_from([2.0, 4.0, 8.0]),
    length=st.sampled_from([2048, 4096, 8192]),
)
def test_llama3_parameters_invert_llama3_factors(theta, head_dim, factor, high, length):
    stored = llama3_factors(theta, head_dim, factor, 1.0, high, length).astype(np.float32).astype(np.float64)
    found = llama3_parameters(stored, theta)
    if found is None:  # fewer than two frequencies lie between: the file doesn't say enough
        assert ((stored > 1) & (stored < factor)).sum() < 2
        return
    length, high = found["original_max_position_embeddings"], found["high_freq_factor"]
    again = llama3_factors(theta, head_dim, found["factor"], 1.0, high, length)
    assert np.allclose(again, stored, rtol=1e-5)


def test_llama3_factors_are_what_transformers_divides_by():
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    scaling |= {"original_max_position_embeddings": 8192, "rope_theta": 500000.0}
    config = LlamaConfig(hidden_size=256, num_attention_heads=2, head_dim=128, rope_parameters=scaling)
    theirs, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    plain = 500000.0 ** -(np.arange(0, 128, 2) / 128)
    assert np.allclose(plain / theirs.numpy(), llama3_factors(500000.0, 128, 8.0, 1.0, 4.0, 8192), rtol=1e-5)


def test_names_go_both_ways():
    names = ["token_embd.weight", "output_norm.weight", "output.weight"]
    names += [f"blk.{i}.{part}.{what}" for i in (0, 17) for part in LAYER_NAMES for what in ("weight", "bias")]
    for name in names:
        assert to_gguf(to_hugging_face(name)) == name
    unknown = ["blk.01.attn_q.weight", "blk.x.attn_q.weight", "blk.0.attn_q.scale", "blk.0.attn_q", "rope", ""]
    for name in [*unknown, "blk.٣.attn_q.bias", "blk.0.attn_q.weight.weight"]:
        assert to_hugging_face(name) is None
