"""LoRA against PEFT: outputs, gradients, a whole step; folders both ways."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft_case import Base, off, saved, with_lora
from safetensors.torch import load_file
from torch import Tensor

import bedplate
from bedplate.deltas.adapter import AdapterWarning, adapted, load_adapter, save_adapter
from bedplate.deltas.lora import LoraConfig, add_lora
from bedplate.deltas.places import module_paths
from bedplate.generate.model import TextModel
from bedplate.nn.cross_entropy import chunked_cross_entropy

# What is promised; rounding of fp32 through three layers gives 1e-6.
RELATIVE = 1e-5

CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "rank and alpha patterns": {
        # The first that matches counts, and PEFT sorts them when it saves.
        "rank_pattern": {r"(.*\.)?layers?\.1\..*": 2, "dense": 6, "q_proj|v_proj": 5},
        "alpha_pattern": {r".*\.2\..*": 3, "query": 11},
        "use_rslora": True,
    },
    "dropout, off at inference": {"lora_dropout": 0.5},
    "two kinds of module": {"target_modules": ["q_proj", "down_proj", "query", "output.dense"]},
    "a regular expression": {"target_modules": r".*\.[12]\..*(gate_proj|k_proj|key|intermediate\.dense)"},
    "some layers": {
        "target_modules": ["q_proj", "value"],
        "layers_to_transform": [0, 2],
        "layers_pattern": ["layers", "layer"],
    },
    "one layer, any pattern": {"target_modules": ["up_proj", "value"], "layers_to_transform": 1},
    "exclusions": {"exclude_modules": r".*\.0\..*|pooler\.dense"},
    "a gaussian start": {"init_lora_weights": "gaussian"},
}

pytestmark = [
    pytest.mark.filterwarnings("ignore::bedplate.deltas.adapter.AdapterWarning"),
    pytest.mark.filterwarnings("ignore:The following .*pattern keys did not match"),
]


@pytest.mark.parametrize("config", CONFIGS)
@torch.no_grad()
def test_their_folder_gives_their_answers(base: Base, config: str, tokens: Tensor, tmp_path: Path) -> None:
    theirs = with_lora(base, **CONFIGS[config])
    ours = base.ours()
    plain = base.answer(ours, tokens)
    tuned = adapted(ours, saved(theirs, tmp_path))
    assert off(base.answer(tuned, tokens), base.peft_answer(theirs, tokens)) < RELATIVE
    assert off(base.answer(tuned, tokens), plain) > 0.01
    # The base beside it answers as before.
    assert torch.equal(base.answer(ours, tokens), plain)


@pytest.mark.parametrize("config", CONFIGS)
@torch.no_grad()
def test_our_folder_gives_our_answers_in_peft(base: Base, config: str, tokens: Tensor, tmp_path: Path) -> None:
    ours = base.ours()
    delta = load_adapter(saved(with_lora(base, **CONFIGS[config]), tmp_path / "theirs"), ours)
    save_adapter(tmp_path / "ours", ours, delta, base=base.folder)
    before = load_file(tmp_path / "theirs" / "adapter_model.safetensors")
    after = load_file(tmp_path / "ours" / "adapter_model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*missing adapter keys.*")
        again = peft.PeftModel.from_pretrained(base.theirs(), tmp_path / "ours").eval()
    assert off(base.peft_answer(again, tokens), base.answer(ours, tokens)) < RELATIVE
    # PEFT wraps the very modules that ours are, and no others.
    assert sum("lora_A" in name for name, _ in again.named_parameters()) == len(delta.layers)


@torch.no_grad()
def test_what_we_begin_with_is_what_peft_begins_with(base: Base, tokens: Tensor, tmp_path: Path) -> None:
    ours = base.ours()
    plain = base.answer(ours, tokens)
    delta = add_lora(ours.net, LoraConfig(rank=4), torch.Generator().manual_seed(0), paths=module_paths(ours))
    assert off(base.answer(ours, tokens), plain) < 1e-6
    theirs = with_lora(base)
    expected = {name: p for name, p in theirs.named_parameters() if "lora_A" in name and "pooler" not in name}
    assert len(delta.layers) == len(expected)
    for layer in delta.layers.values():
        # Kaiming with a = sqrt(5): uniform within 1 / sqrt(in).
        bound = layer.in_features**-0.5
        assert layer.lora_a.abs().max() <= bound
        assert layer.lora_a.std() == pytest.approx(bound / 3**0.5, rel=0.15)
        assert (layer.lora_b == 0).all()


def _step_losses(base: Base, ours: Any, theirs: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
    targets = tokens[:, 1:]
    if isinstance(ours, TextModel):
        keep = torch.ones_like(targets, dtype=torch.bool)
        mine = chunked_cross_entropy(ours.hidden(tokens)[:, :-1], ours.net.readout, targets, keep) / targets.numel()
        return mine, theirs(input_ids=tokens, labels=tokens).loss
    direction = torch.randn(48, generator=torch.Generator().manual_seed(5))
    return (ours.hidden(tokens) @ direction).square().mean(), (theirs(input_ids=tokens)[0] @ direction).square().mean()


def test_gradients_of_one_step_equal_peft(base: Base, tokens: Tensor, tmp_path: Path) -> None:
    theirs = with_lora(base, use_rslora=True)
    ours = base.ours()
    delta = load_adapter(saved(theirs, tmp_path), ours, trainable=True)
    loss, expected = _step_losses(base, ours, theirs, tokens)
    loss.backward()
    expected.backward()
    assert torch.isclose(loss, expected, rtol=1e-5)
    wrapped = {n.removeprefix("base_model.model.").replace(".default", ""): p for n, p in theirs.named_parameters()}
    paths = module_paths(ours)
    greatest = max(p.grad.norm() for p in wrapped.values() if p.grad is not None)
    for path, layer in delta.layers.items():
        for part, parameter in (("lora_A", layer.lora_a), ("lora_B", layer.lora_b)):
            other = wrapped[f"{paths[path]}.{part}.weight"].grad
            assert parameter.grad is not None
            # fp32 sums over 48 positions in another order; where gradients nearly cancel, rounding of what cancelled.
            assert (parameter.grad - other).norm() < 1e-4 * other.norm() + 1e-5 * greatest, (path, part)
    untouched = [n for n, p in ours.net.named_parameters() if p.grad is not None and n not in delta.parameters()]
    assert not untouched


def test_a_step_of_adamw_goes_where_theirs_goes(llama: Base, tokens: Tensor, tmp_path: Path) -> None:
    theirs = with_lora(llama)
    ours = llama.ours()
    delta = load_adapter(saved(theirs, tmp_path), ours, trainable=True)
    mine = torch.optim.AdamW(delta.parameters().values(), lr=1e-2)
    other = torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(3):
        for loss, optimiser in zip(_step_losses(llama, ours, theirs, tokens), (mine, other), strict=True):
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        assert off(llama.answer(ours, tokens), llama.peft_answer(theirs, tokens)) < 1e-4


@torch.no_grad()
def test_disabled_is_the_base(base: Base, tokens: Tensor, tmp_path: Path) -> None:
    theirs, ours = with_lora(base), base.ours()
    plain = base.answer(ours, tokens)
    delta = load_adapter(saved(theirs, tmp_path), ours)
    tuned = base.answer(ours, tokens)
    with theirs.disable_adapter(), delta.disabled():
        assert torch.equal(base.answer(ours, tokens), plain)
        assert off(base.answer(ours, tokens), base.peft_answer(theirs, tokens)) < RELATIVE
    assert torch.equal(base.answer(ours, tokens), tuned)


@pytest.mark.parametrize("bias", ["all", "lora_only"])
@torch.no_grad()
def test_biases_that_an_adapter_brings(base: Base, bias: str, tokens: Tensor, tmp_path: Path) -> None:
    if base.kind.startswith("llama"):
        pytest.skip("no biases")
    target = ["q_proj", "query"]
    theirs = with_lora(base, bias=bias, target_modules=target)
    for name, parameter in theirs.named_parameters():
        if parameter.requires_grad and name.endswith("bias"):
            parameter.add_(0.3)
    ours = base.ours()
    plain = base.answer(ours, tokens)
    delta = load_adapter(saved(theirs, tmp_path), ours)
    assert off(base.answer(ours, tokens), base.peft_answer(theirs, tokens)) < RELATIVE
    with delta.disabled():
        assert torch.equal(base.answer(ours, tokens), plain)


@torch.no_grad()
def test_modules_that_an_adapter_saves_whole(llama: Base, tokens: Tensor, tmp_path: Path) -> None:
    saves = ["norm", "lm_head", "embed_tokens"]
    theirs = with_lora(llama, modules_to_save=saves, target_modules=["q_proj"])
    for name, parameter in theirs.named_parameters():
        if "modules_to_save" in name:
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)) * 0.1)
    ours = llama.ours()
    delta = load_adapter(saved(theirs, tmp_path), ours)
    # PEFT takes every module whose name ends so: "norm" is all seven norms.
    assert len(delta.replaced.parameters()) == 9
    assert off(llama.answer(ours, tokens), llama.peft_answer(theirs, tokens)) < RELATIVE


@torch.no_grad()
def test_half_precision_factors(llama: Base, tokens: Tensor, tmp_path: Path) -> None:
    theirs = with_lora(llama)
    folder = saved(theirs, tmp_path)
    from safetensors.torch import save_file

    file = folder / "adapter_model.safetensors"
    save_file({n: t.bfloat16() for n, t in load_file(file).items()}, file, metadata={"format": "pt"})
    for _, parameter in theirs.named_parameters():
        parameter.data = parameter.data.bfloat16().float() if parameter.requires_grad else parameter.data
    assert off(llama.answer(adapted(llama.ours(), folder), tokens), llama.peft_answer(theirs, tokens)) < RELATIVE


def test_an_adapter_with_a_pooler_says_what_it_leaves_out(base: Base, tmp_path: Path) -> None:
    if base.kind != "bert":
        pytest.skip("BERT's alone")
    theirs = with_lora(base, exclude_modules=None)
    with pytest.warns(AdapterWarning, match=r"pooler.dense isn't part of this model's computation"):
        load_adapter(saved(theirs, tmp_path), base.ours())


@torch.no_grad()
def test_smollm2_with_random_lora(smollm2: Path, tmp_path: Path) -> None:
    import transformers

    theirs = transformers.AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    tuned = peft.get_peft_model(theirs, peft.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))
    generator = torch.Generator().manual_seed(0)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            parameter.normal_(std=0.02, generator=generator)
    tokens = torch.randint(0, 49152, (1, 40), generator=generator)
    tuned.save_pretrained(tmp_path)
    ours = bedplate.load(smollm2, adapter=tmp_path)
    assert len([n for n, _ in ours.net.named_parameters() if n.endswith("lora_a")]) == 210
    assert off(ours(tokens), tuned.eval()(tokens).logits) < RELATIVE
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
