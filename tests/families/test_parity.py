"""Llama, Mistral, Qwen 2 and Qwen 3 against transformers: logits, gradients and weights, theirs to ours and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from cases_decoders import CASES as DECODERS
from cases_deepseek import CASES as DEEPSEEK
from cases_moe import CASES as MOE
from cases_starcoder2 import CASES as STARCODER2
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

from bedplate.families.model import Model, load
from bedplate.nn.cross_entropy import chunked_cross_entropy
from bedplate.nn.mask import Mask
from bedplate.nn.router import Routing

LENGTH = 40
_SHAPE = {
    "hidden_size": 48,
    "intermediate_size": 72,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "vocab_size": 131,
    "max_position_embeddings": 64,
}


def _rope(kind: str, **keys: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_theta": 10000.0, "rope_type": kind, **keys}}


_GPT2 = {
    "n_embd": 48,
    "n_layer": 3,
    "n_head": 6,
    "vocab_size": 131,
    "n_positions": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
_SHORT = {"original_max_position_embeddings": 16}
# Every case is longer than its windows and its original length.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama one key head": ("Llama", {"num_key_value_heads": 1}),
    "llama no grouping": ("Llama", {"num_key_value_heads": 6}),
    "llama odd heads, biases, tied": (
        "Llama",
        {"head_dim": 10, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    ),
    "llama eps, theta": ("Llama", {"rms_norm_eps": 1e-2, **_rope("default"), "rope_theta": 300.0}),
    "llama linear": ("Llama", _rope("linear", factor=2.0)),
    "llama dynamic": ("Llama", {**_rope("dynamic", factor=2.0), "max_position_embeddings": 16}),
    "llama llama3": ("Llama", _rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, **_SHORT)),
    "llama yarn": ("Llama", _rope("yarn", factor=4.0, **_SHORT)),
    "llama yarn mscale": ("Llama", _rope("yarn", factor=4.0, mscale=0.7, mscale_all_dim=1.1, **_SHORT)),
    "mistral": ("Mistral", {"sliding_window": 7}),
    "mistral odd heads, tied": ("Mistral", {"sliding_window": 7, "head_dim": 10, "tie_word_embeddings": True}),
    "mistral, width no multiple of heads": ("Mistral", {"hidden_size": 50, "head_dim": 6, "sliding_window": None}),
    "gpt2": ("GPT2", _GPT2),
    "gpt2 untied, inner, unscaled, relu": (
        "GPT2",
        {
            **_GPT2,
            "tie_word_embeddings": False,
            "n_inner": 72,
            "scale_attn_weights": False,
            "activation_function": "relu",
        },
    ),
    "qwen2": ("Qwen2", {}),
    "qwen2 windows, tied": (
        "Qwen2",
        {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1, "tie_word_embeddings": True},
    ),
    "qwen2 yarn": ("Qwen2", _rope("yarn", factor=4.0, **_SHORT)),
    "qwen3": ("Qwen3", {"head_dim": 16}),
    "qwen3 odd heads, biases": ("Qwen3", {"head_dim": 14, "attention_bias": True}),
    "qwen3 windows": (
        "Qwen3",
        {"head_dim": 16, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2},
    ),
    "qwen3 windows first": (
        "Qwen3",
        {
            "head_dim": 16,
            "use_sliding_window": True,
            "sliding_window": 4,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "tie_word_embeddings": True,
        },
    ),
    **DECODERS,
    **MOE,
    **DEEPSEEK,
    **STARCODER2,
}


LLAMA = {"Llama", "Mistral", "Qwen2", "Qwen3"}
"""Kinds that share `_SHAPE`; every other case says its whole shape."""


@pytest.fixture(scope="module", autouse=True)
def _quiet_and_alone() -> Iterator[None]:
    logging.disable_progress_bar()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    logging.enable_progress_bar()


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[PreTrainedModel, Path]:
    """A tiny random model of transformers, and the folder that it saved itself to."""
    kind, keys = FAMILIES[request.param]
    shape = _SHAPE if kind in LLAMA else {}
    config = getattr(transformers, f"{kind}Config")(**{**shape, **keys})
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        # Large enough that attention is far from uniform and every gain and bias tells.
        parameter.data.normal_(std=0.2 if parameter.dim() > 1 else 0.5, generator=generator)
    for buffer in _stored_buffers(model):
        buffer.normal_(std=0.2, generator=generator)
    folder = tmp_path_factory.mktemp("theirs")
    model.save_pretrained(folder)
    return model, folder


def _stored_buffers(model: PreTrainedModel) -> list[Tensor]:
    """What lies on disk beside its parameters, and is a parameter of ours (a router's balancing bias)."""
    stored = model.state_dict()
    return [buffer for name, buffer in model.named_buffers() if name in stored]


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    return torch.randint(0, 131, (2, LENGTH), generator=torch.Generator().manual_seed(1))


def _off(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


# What the project promises is 1e-4; rounding of fp32 through three layers gives 1e-6.
RELATIVE = 1e-5


@torch.no_grad()
def test_logits_equal_transformers(family: tuple[PreTrainedModel, Path], tokens: Tensor) -> None:
    theirs, folder = family
    assert _off(load(folder)(tokens), theirs(tokens).logits) < RELATIVE


@torch.no_grad()
def test_what_we_save_is_theirs_again(family: tuple[PreTrainedModel, Path], tokens: Tensor, tmp_path: Path) -> None:
    theirs, folder = family
    load(folder).save(tmp_path)
    before, after = load_file(folder / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    again, report = AutoModelForCausalLM.from_pretrained(
        tmp_path, attn_implementation="eager", output_loading_info=True
    )
    assert not any(report.values()), report
    assert type(again) is type(theirs)
    # The very same numbers in the very same code: bit for bit.
    assert torch.equal(again(tokens).logits, theirs(tokens).logits)
    ours_again = load(tmp_path)
    assert ours_again.config == load(folder).config
    assert torch.equal(ours_again(tokens), load(folder)(tokens))


def test_as_many_numbers(family: tuple[PreTrainedModel, Path]) -> None:
    theirs, folder = family
    numbers = sum(p.numel() for p in (*theirs.parameters(), *_stored_buffers(theirs)))
    assert load(folder).parameter_count() == numbers


def test_loss_and_gradients_equal_transformers(
    family: tuple[PreTrainedModel, Path], tokens: Tensor, tmp_path: Path
) -> None:
    theirs, folder = family
    theirs.zero_grad()
    expected = theirs(tokens, labels=tokens).loss
    expected.backward()
    ours = load(folder)
    targets = tokens[:, 1:]
    hidden = ours.hidden(tokens)[:, :-1]
    loss = chunked_cross_entropy(hidden, ours.net.readout, targets, torch.ones_like(targets, dtype=torch.bool))
    loss = loss / targets.numel()
    loss.backward()
    assert torch.isclose(loss, expected, rtol=1e-5)
    gradients = {name: p.grad for name, p in ours.net.named_parameters() if p.grad is not None}
    stored = ours.family.table(ours.config).stored(gradients, ours.config.num_hidden_layers)
    # As the weights lie on disk, where some are cut otherwise than in memory (experts).
    theirs.save_pretrained(tmp_path, state_dict={n: p.grad for n, p in theirs.named_parameters() if p.grad is not None})
    wanted = load_file(tmp_path / "model.safetensors")
    assert stored.keys() == wanted.keys()
    for name, b in wanted.items():
        # fp32 sums over 80 positions in another order. The bias of keys moves all scores of a query alike, so its
        # true gradient is (all but) nothing: there, rounding is measured against 1.
        assert (stored[name] - b).norm() <= 1e-4 * (b.norm() + name.endswith("k_proj.bias")), name


@torch.no_grad()
def test_left_padded_batches_equal_transformers(family: tuple[PreTrainedModel, Path], tokens: Tensor) -> None:
    theirs, folder = family
    starts = torch.tensor([[0], [13]])
    valid = torch.arange(LENGTH) >= starts
    positions = (torch.arange(LENGTH) - starts).clamp(min=0)
    expected = theirs(tokens, attention_mask=valid.long(), position_ids=positions).logits
    ours = load(folder)(tokens, positions=positions, mask=Mask(valid=valid))
    assert _off(ours[valid], expected[valid]) < RELATIVE


@torch.no_grad()
def test_the_spelling_of_transformers_4_reads_the_same(
    family: tuple[PreTrainedModel, Path], tokens: Tensor, tmp_path: Path
) -> None:
    """rope_theta, rope_scaling with "type", torch_dtype, no layer_types, no rope_parameters."""
    _, folder = family
    found = json.loads((folder / "config.json").read_text())
    if "rope_parameters" not in found:
        pytest.skip("no rotary positions, which alone are spelt in two ways")
    rope = found.pop("rope_parameters")
    if rope.get("partial_rotary_factor", 1.0) != 1.0 or "rope_theta" not in rope:
        pytest.skip("older spellings of its own, which the family's own tests read")
    found["rope_theta"] = rope.pop("rope_theta")
    if found["model_type"] == "gpt_neox":
        found["rotary_emb_base"] = found["rope_theta"]  # its own key, which alone counts outside of rope_parameters
    kind = rope.pop("rope_type")
    found["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}
    found["torch_dtype"] = found.pop("dtype")
    types = found.pop("layer_types", None)
    if types is not None:
        prefix = types == sorted(types)  # "full" before "sliding", all that version 4 could once say
        if not prefix or "max_window_layers" not in found:
            found["layer_types"] = types
    (tmp_path / "config.json").write_text(json.dumps(found))
    (tmp_path / "model.safetensors").symlink_to(folder / "model.safetensors")
    older, newer = load(tmp_path), load(folder)
    assert older.config == newer.config
    assert torch.equal(older(tokens), newer(tokens))
    written = newer.config.to_hf()
    assert written["rope_parameters"]["rope_theta"] == written["rope_theta"]
    scaling = {{"type": "rope_type"}.get(key, key): value for key, value in (written["rope_scaling"] or {}).items()}
    assert scaling.items() <= written["rope_parameters"].items()
    assert {"dtype", "torch_dtype"} <= _saved(newer, tmp_path / "saved").keys()


def _alike(a: Model, b: Model, tokens: Tensor) -> Tensor:
    """[B, T] bool: whether this token and all before it take the same experts in every layer of both."""
    notes: list[list[Routing]] = [[], []]
    for model, noted in zip((a, b), notes, strict=True):
        model.net(tokens, routing=noted)
    same = [(x.chosen.sort(-1).values == y.chosen.sort(-1).values).all(-1) for x, y in zip(*notes, strict=True)]
    return torch.stack(same).all(0).view_as(tokens).long().cumprod(-1).bool()


def _saved(model: Model, folder: Path) -> dict[str, Any]:
    model.save(folder)
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return found


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@torch.no_grad()
def test_half_precision_is_kept_and_computed_in(
    family: tuple[PreTrainedModel, Path], tokens: Tensor, tmp_path: Path, dtype: str
) -> None:
    _, folder = family
    load(folder).save(tmp_path, dtype=getattr(torch, dtype))
    half = load(tmp_path)
    assert half.dtype == getattr(torch, dtype)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    expected = again(tokens).logits
    off = (half(tokens) - expected).abs().amax(-1) / expected.abs().max()
    # Both start from the same rounded weights; the steps between round by 2^-9 (bf16) or 2^-12 (fp16). A rounded score
    # may choose another expert, which is another function, for a token and so for those after it: with experts those
    # tokens are judged before which everybody chose alike.
    if half.net.has_experts:
        off = off[_alike(half, load(tmp_path, dtype="float32"), tokens)]
        assert len(off)
    assert off.max() < {"bfloat16": 0.1, "float16": 0.02}[dtype]
    assert load(tmp_path, dtype="float32").dtype == torch.float32
    assert _off(load(tmp_path, dtype="float32")(tokens), again(tokens).logits) < RELATIVE
