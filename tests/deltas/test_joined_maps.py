"""LoRA on families whose files hold maps joined or turned round: PEFT's folders read and written, exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from peft_case import LENGTH, VOCABULARY, off
from safetensors.torch import load_file
from torch import Tensor

import bedplate
from bedplate.deltas.adapter import load_adapter, save_adapter
from bedplate.deltas.lora import LoraConfig, LoraDelta, add_lora
from bedplate.deltas.merge import fold
from bedplate.deltas.peft_config import CONFIG
from bedplate.deltas.peft_folder import WEIGHTS
from bedplate.deltas.places import check_adaptable, module_paths, places
from bedplate.deltas.subset import SubsetKind, choose_subset
from bedplate.errors import WeightsError
from bedplate.families.encoder_model import EncoderModel

pytestmark = [
    pytest.mark.filterwarnings("ignore::bedplate.deltas.adapter.AdapterWarning"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False"),  # PEFT, putting it right itself
]
RELATIVE = 1e-5  # what is promised; rounding of fp32 through two layers gives 1e-6
_SHAPE: dict[str, Any] = {
    "hidden_size": 48, "intermediate_size": 72, "num_hidden_layers": 2, "num_attention_heads": 6,
    "vocab_size": VOCABULARY, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
_GPT2 = {
    "n_embd": 48, "n_layer": 2, "n_head": 6, "n_positions": 64, "vocab_size": VOCABULARY, "bos_token_id": 0,
    "eos_token_id": 1,
}  # fmt: skip
_BERT = {**_SHAPE, "pad_token_id": 0, "cls_token_id": 0, "sep_token_id": 1}
KINDS: dict[str, tuple[str, dict[str, Any], list[str], list[str]]] = {
    # Class, keys, the joined maps as PEFT targets them, and others.
    "phi3": (
        "Phi3", {**_SHAPE, "num_key_value_heads": 2, "pad_token_id": None}, ["qkv_proj", "gate_up_proj"], ["o_proj"],
    ),
    "gpt_neox": ("GPTNeoX", _SHAPE, ["query_key_value"], ["dense_4h_to_h"]),
    "gpt2": ("GPT2", _GPT2, ["c_attn"], ["attn.c_proj", "c_fc"]),
    "modernbert": ("ModernBert", {**_BERT, "global_attn_every_n_layers": 2}, ["Wqkv", "Wi"], ["attn.Wo"]),
}  # fmt: skip
TOKENS = torch.randint(0, VOCABULARY, (2, LENGTH), generator=torch.Generator().manual_seed(1))


def _theirs(kind: str, folder: Path) -> Any:
    cls = transformers.ModernBertModel if kind == "modernbert" else transformers.AutoModelForCausalLM
    return cls.from_pretrained(folder, attn_implementation="eager").eval()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def base(kind: str, tmp_path: Path) -> Path:
    return _make(kind, tmp_path / "base")


def _make(kind: str, folder: Path) -> Path:
    name, keys, *_ = KINDS[kind]
    config = getattr(transformers, f"{name}Config")(**keys)
    if kind == "modernbert":
        model = transformers.ModernBertModel(config)
    else:
        model = transformers.AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.2, generator=generator)
    model.save_pretrained(folder)
    return folder


def _answer(model: Any) -> Tensor:
    hidden: Tensor = model.hidden(TOKENS) if isinstance(model, EncoderModel) else model(TOKENS)
    return hidden


def _peft(kind: str, base: Path, **changes: Any) -> Any:
    _, _, joined, others = KINDS[kind]
    options = {"r": 3, "lora_alpha": 7, "target_modules": [*joined, *others], "fan_in_fan_out": kind == "gpt2"}
    model = peft.get_peft_model(_theirs(kind, base), peft.LoraConfig(**(options | changes)))
    _shake(dict(model.named_parameters()))
    return model.eval()


def _shake(parameters: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(3)
    for name, parameter in parameters.items():
        if "lora_" in name or parameter.requires_grad:
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)


def _ours(model: Any, config: LoraConfig) -> LoraDelta:
    delta = add_lora(model.net, config, torch.Generator().manual_seed(0), paths=module_paths(model))
    _shake(dict(delta.parameters()))
    return delta


CHANGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "everything": {"target_modules": "all-linear"},
    "rslora": {"use_rslora": True},
    "some layers": {"layers_to_transform": [1], "layers_pattern": ["layers", "h"]},
    "biases": {"bias": "all"},
    "biases of its maps": {"bias": "lora_only"},
}


@pytest.mark.parametrize("change", CHANGES)
@torch.no_grad()
def test_what_peft_made_is_read_folded_and_written_as_it_was(
    kind: str, base: Path, change: str, tmp_path: Path
) -> None:
    theirs = _peft(kind, base, **CHANGES[change])
    theirs.save_pretrained(tmp_path / "theirs")
    model, expected = bedplate.load(base, device="cpu"), theirs(input_ids=TOKENS)[0]
    plain = _answer(model)
    delta = load_adapter(tmp_path / "theirs", model, trainable=True)
    assert isinstance(delta, LoraDelta)
    assert off(_answer(model), expected) < RELATIVE
    assert off(plain, expected) > 1e-2
    if not delta.replaced.parameters():
        save_adapter(tmp_path / "ours", model, delta, base=None)
        before, after = load_file(tmp_path / "theirs" / WEIGHTS), load_file(tmp_path / "ours" / WEIGHTS)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
    fold(model.net, delta)
    model.save(tmp_path / "merged")
    assert off(_answer(bedplate.load(tmp_path / "merged", device="cpu")), expected) < RELATIVE


CONFIGS: dict[str, LoraConfig] = {
    "everything": LoraConfig(rank=2, alpha=5),
    "rslora": LoraConfig(rank=2, alpha=5, rslora=True),
    "patterns": LoraConfig(rank=2, alpha=5, rank_pattern={r".*\.1\..*": 3}, alpha_pattern={r".*\.0\..*": 9}),
}


@pytest.mark.parametrize("config", CONFIGS)
@torch.no_grad()
def test_what_was_trained_here_gives_the_same_answers_in_peft(
    kind: str, base: Path, config: str, tmp_path: Path
) -> None:
    model = bedplate.load(base, device="cpu")
    delta = _ours(model, CONFIGS[config])
    check_adaptable(model, delta.layers)
    save_adapter(tmp_path / "adapter", model, delta, base=None)
    expected = _answer(model)
    theirs = peft.PeftModel.from_pretrained(_theirs(kind, base), tmp_path / "adapter").eval()
    assert off(expected, theirs(input_ids=TOKENS)[0]) < RELATIVE
    wrapped = {n for n, _ in theirs.named_parameters() if "lora_A" in n}
    assert len(wrapped) == len(places(model)) < len(delta.layers)
    again = bedplate.load(base, device="cpu")
    load_adapter(tmp_path / "adapter", again)
    assert off(_answer(again), expected) < RELATIVE


@torch.no_grad()
def test_a_part_alone_and_parts_of_unlike_scale(kind: str, base: Path, tmp_path: Path) -> None:
    model = bedplate.load(base, device="cpu")
    delta = _ours(model, LoraConfig(rank=2, alpha=5, targets=(KINDS[kind][2][0],)))
    first = next(p for p in delta.layers if p.endswith(".k"))
    delta.layers[first].scale = 0.5
    kept = delta.layers.pop(next(p for p in delta.layers if p.endswith(".q")))
    kept.enabled = False
    save_adapter(tmp_path / "adapter", model, delta, base=None)
    theirs = peft.PeftModel.from_pretrained(_theirs(kind, base), tmp_path / "adapter").eval()
    assert off(_answer(model), theirs(input_ids=TOKENS)[0]) < RELATIVE
    said = json.loads((tmp_path / "adapter" / CONFIG).read_text())
    assert sorted({t.rpartition(".")[2] for t in said["target_modules"]}) == [KINDS[kind][2][0]]
    assert said["fan_in_fan_out"] == (kind == "gpt2")


def test_a_gradient_is_the_one_of_peft(kind: str, base: Path, tmp_path: Path) -> None:
    theirs = _peft(kind, base)
    theirs.save_pretrained(tmp_path / "adapter")
    model = bedplate.load(base, device="cpu")
    delta = load_adapter(tmp_path / "adapter", model, trainable=True)
    assert isinstance(delta, LoraDelta)
    _answer(model).square().mean().backward()
    theirs(input_ids=TOKENS)[0].square().mean().backward()
    wrapped = {n.replace(".default", ""): p for n, p in theirs.named_parameters() if "lora_" in n}
    for place in places(model):
        if not (layers := [delta.layers[p] for p in place.ours if p in delta.layers]):
            continue
        # One A there is several here: its gradient is the sum of theirs.
        a = sum(layer.lora_a.grad for layer in layers if layer.lora_a.grad is not None)
        b = torch.cat([layer.lora_b.grad for layer in layers if layer.lora_b.grad is not None])[place.rows]
        for part, ours in (("A", a), ("B", b)):
            other = wrapped[f"base_model.model.{place.path}.lora_{part}.weight"].grad
            assert (ours - other).norm() < 1e-4 * other.norm() + 1e-7, (place.path, part)


@pytest.mark.parametrize("subset", ["bitfit", "last-layer"])
@torch.no_grad()
def test_a_subset_goes_by_the_names_of_the_checkpoint(
    kind: str, base: Path, subset: SubsetKind, tmp_path: Path
) -> None:
    model = bedplate.load(base, device="cpu")
    delta = choose_subset(model.net, subset)
    _shake(dict(delta.parameters()))
    save_adapter(tmp_path / "adapter", model, delta, base=None)
    again = bedplate.load(base, device="cpu")
    load_adapter(tmp_path / "adapter", again)
    assert torch.equal(_answer(again), _answer(model))
    stored = set(load_file(next(base.glob("*.safetensors"))))
    assert set(load_file(tmp_path / "adapter" / "delta.safetensors")) <= stored


def test_experts_are_refused_by_name(tmp_path: Path) -> None:
    keys = {**_SHAPE, "num_key_value_heads": 2, "num_local_experts": 4, "pad_token_id": None}
    torch.manual_seed(0)
    transformers.MixtralForCausalLM(transformers.MixtralConfig(**keys)).save_pretrained(tmp_path / "base")
    model = bedplate.load(tmp_path / "base", device="cpu")
    delta = _ours(model, LoraConfig(rank=2))
    assert not any("expert" in path for path in delta.layers)
    save_adapter(tmp_path / "adapter", model, delta, base=None)
    path = tmp_path / "adapter" / WEIGHTS
    tensors = load_file(path)
    key = "base_model.model.model.layers.0.block_sparse_moe.experts.3.w1.lora_A.weight"
    from safetensors.torch import save_file

    save_file(tensors | {key: torch.ones(2, 48)}, path, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"experts\.3\.w1.*mixtral holds this map as a part") as caught:
        load_adapter(tmp_path / "adapter", bedplate.load(tmp_path / "base", device="cpu"))
    assert "merge_and_unload" in (caught.value.fix or "")
