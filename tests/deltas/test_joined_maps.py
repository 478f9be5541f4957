"""LoRA on families whose files hold maps joined or turned round: refused where a PEFT folder couldn't say it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from peft_case import LENGTH, VOCABULARY, off
from transformers import AutoModelForCausalLM

from bedplate.deltas.adapter import load_adapter, save_adapter
from bedplate.deltas.lora import LoraConfig, add_lora
from bedplate.deltas.merge import fold
from bedplate.deltas.names import check_adaptable, module_paths
from bedplate.errors import WeightsError
from bedplate.families.model import Model, load

pytestmark = pytest.mark.filterwarnings("ignore::bedplate.deltas.adapter.AdapterWarning")
_SHAPE: dict[str, Any] = {
    "hidden_size": 48, "intermediate_size": 72, "num_hidden_layers": 2, "num_attention_heads": 6,
    "vocab_size": VOCABULARY, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
_GPT2 = {
    "n_embd": 48, "n_layer": 2, "n_head": 6, "n_positions": 64, "vocab_size": VOCABULARY, "bos_token_id": 0,
    "eos_token_id": 1,
}  # fmt: skip
KINDS: dict[str, tuple[str, dict[str, Any], str, list[str]]] = {
    "phi3": ("Phi3", {**_SHAPE, "pad_token_id": None}, "qkv_proj", ["o_proj", "down_proj"]),
    "gpt_neox": ("GPTNeoX", _SHAPE, "query_key_value", ["dense", "dense_h_to_4h", "dense_4h_to_h"]),
    "gpt2": ("GPT2", _GPT2, "c_attn", []),
}


def _make(kind: str, folder: Path) -> Path:
    name, keys, *_ = KINDS[kind]
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(getattr(transformers, f"{name}Config")(**keys)).save_pretrained(folder)
    return folder


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def base(kind: str, tmp_path: Path) -> Path:
    return _make(kind, tmp_path / "base")


def _lora(model: Model, targets: list[str] | None) -> Any:
    config = LoraConfig(rank=2, targets=None if targets is None else tuple(targets))
    delta = add_lora(model.net, config, torch.Generator().manual_seed(0), paths=module_paths(model))
    for name, parameter in delta.parameters().items():
        parameter.data.normal_(std=0.2, generator=torch.Generator().manual_seed(len(name)))
    return delta


def test_everything_adapted_is_not_written(kind: str, base: Path, tmp_path: Path) -> None:
    model = load(base)
    delta = _lora(model, None)
    _, _, joined, free = KINDS[kind]
    for refuse in (
        lambda: save_adapter(tmp_path / "adapter", model, delta, base=None),
        lambda: check_adaptable(model, delta.layers),
    ):
        with pytest.raises(WeightsError, match=joined) as caught:
            refuse()
        assert kind in caught.value.problem
        assert all(name in (caught.value.fix or "") for name in free or ["fold"])
    assert not list((tmp_path / "adapter").glob("*"))


@torch.no_grad()
def test_folded_it_is_kept(base: Path, tmp_path: Path) -> None:
    """The way out that is named where nothing stands alone."""
    model, tokens = load(base), torch.arange(LENGTH)[None]
    before = model(tokens)
    delta = _lora(model, None)
    adapted = model(tokens)
    assert off(before, adapted) > 1e-3
    fold(model.net, delta)
    model.save(tmp_path / "merged")
    assert off(load(tmp_path / "merged")(tokens), adapted) < 1e-5


def test_an_adapter_of_joined_maps_is_not_read(kind: str, base: Path, tmp_path: Path) -> None:
    _, _, joined, _ = KINDS[kind]
    theirs = AutoModelForCausalLM.from_pretrained(base)
    config = peft.LoraConfig(r=2, target_modules=[joined], fan_in_fan_out=kind == "gpt2")
    peft.get_peft_model(theirs, config).save_pretrained(tmp_path / "adapter")
    model, tokens = load(base), torch.arange(LENGTH)[None]
    before = model(tokens)
    with pytest.raises(WeightsError) as caught:
        load_adapter(tmp_path / "adapter", model)
    if kind != "gpt2":  # refused even before, by what its configuration says of the layout
        assert joined in caught.value.problem
        assert "merge_and_unload" in (caught.value.fix or "")
    assert torch.equal(model(tokens), before)


@pytest.mark.parametrize("kind", ["phi3", "gpt_neox"])
@torch.no_grad()
def test_maps_that_stand_alone_go_to_peft_and_back(kind: str, base: Path, tmp_path: Path) -> None:
    *_, free = KINDS[kind]
    model, tokens = load(base), torch.arange(LENGTH)[None]
    delta = _lora(model, free)
    save_adapter(tmp_path / "adapter", model, delta, base=None)
    expected = model(tokens)
    theirs = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "adapter").eval()
    assert off(expected, theirs(input_ids=tokens)[0]) < 1e-5
    again = load(base)
    load_adapter(tmp_path / "adapter", again)
    assert off(again(tokens), expected) < 1e-5
