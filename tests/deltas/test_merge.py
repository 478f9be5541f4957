"""Merging: the merged model answers as base and adapter do, in our core, in transformers and in PEFT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft_case import Base, off, saved, with_lora
from safetensors.torch import load_file
from torch import Tensor

import bedplate
from bedplate.console import Console
from bedplate.deltas import merge_certificate
from bedplate.deltas.adapter import load_adapter, save_adapter
from bedplate.deltas.lora import LoraConfig, add_lora
from bedplate.deltas.merge import fold, merge_adapter
from bedplate.deltas.subset import choose_subset
from bedplate.errors import InputError, UserError, WeightsError
from bedplate.families.imports import import_model
from bedplate.ledger import Artefact, open_artefact
from bedplate.nn.linear import Linear

pytestmark = pytest.mark.filterwarnings("ignore::bedplate.deltas.adapter.AdapterWarning")
QUIET = Console.quiet()


def _theirs_of(base: Base, folder: Path) -> Any:
    cls = transformers.BertModel if base.kind == "bert" else transformers.AutoModelForCausalLM
    return cls.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()


@torch.no_grad()
def test_merged_is_unmerged(base: Base, tokens: Tensor, tmp_path: Path) -> None:
    theirs = with_lora(base, use_rslora=True)
    made = merge_adapter(saved(theirs, tmp_path / "adapter"), tmp_path / "merged", base=base.folder, console=QUIET)
    assert made.kind == "model"
    merged = bedplate.load(made.path)
    unmerged = bedplate.load(base.folder, adapter=tmp_path / "adapter")
    wanted = base.answer(unmerged, tokens)
    # What is promised is 1e-4.
    assert off(base.answer(merged, tokens), wanted) < 1e-5
    assert off(base.peft_answer(_theirs_of(base, made.path), tokens), wanted) < 1e-5
    assert off(base.peft_answer(theirs.merge_and_unload(), tokens), wanted) < 1e-5
    assert off(base.answer(base.ours(), tokens), wanted) > 0.01
    names = load_file(base.folder / "model.safetensors").keys()
    assert load_file(made.path / "model.safetensors").keys() == names  # a tied head stays tied
    certificate = made.measures["certificate"]
    assert certificate == json.loads((made.path / "certificate.json").read_text())
    assert certificate["change_by_adapter"] > 1000 * certificate["change_by_storing"]
    limit, found = (
        (certificate["limits"]["hidden_error"], certificate["greatest_hidden_error"])
        if base.kind == "bert"
        else (certificate["limits"]["logit_error"], certificate["greatest_logit_error"])
    )
    assert found <= limit <= 1e-3
    made.verify()


@torch.no_grad()
def test_a_merge_of_artefacts_says_where_it_came_from(llama: Base, tokens: Tensor, tmp_path: Path) -> None:
    base = import_model(llama.folder, tmp_path / "base", console=QUIET)
    adapter = saved(with_lora(llama), tmp_path / "adapter")
    made = merge_adapter(adapter, tmp_path / "merged", base=base.path, console=QUIET)
    assert [(i.role, i.name) for i in made.manifest.inputs] == [("base", "base"), ("source", "adapter")]
    again = merge_adapter(adapter, tmp_path / "merged", base=base.path, console=QUIET)
    assert again.cached
    assert open_artefact(made.path).digest == made.digest


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@torch.no_grad()
def test_narrower_types_have_wider_limits(base: Base, dtype: str, tokens: Tensor, tmp_path: Path) -> None:
    adapter = saved(with_lora(base), tmp_path / "adapter")
    made = merge_adapter(adapter, tmp_path / "merged", base=base.folder, dtype=dtype, console=QUIET)
    assert {t.dtype for t in load_file(made.path / "model.safetensors").values()} == {getattr(torch, dtype)}
    wanted = base.answer(bedplate.load(base.folder, adapter=adapter), tokens)
    found = base.answer(bedplate.load(made.path, dtype="float32"), tokens)
    assert 0 < off(found, wanted) < 0.1


@torch.no_grad()
def test_an_adapter_too_small_for_the_type_is_said(llama: Base, tmp_path: Path) -> None:
    model = llama.ours()
    delta = add_lora(model.net, LoraConfig(rank=2), torch.Generator().manual_seed(0))
    for layer in delta.layers.values():
        layer.lora_b.fill_(1e-5)
    save_adapter(tmp_path / "adapter", model, delta, base=llama.folder)
    made = _merge(llama, tmp_path, dtype="bfloat16")
    assert any("dtype=float32 keeps all of it" in note for note in made.measures["notes"])
    assert not _merge(llama, tmp_path, out="wide").measures["notes"]


def _merge(base: Base, tmp_path: Path, *, out: str = "merged", **options: Any) -> Artefact:
    return merge_adapter(tmp_path / "adapter", tmp_path / out, base=base.folder, console=QUIET, **options)


@pytest.mark.parametrize("kind", ["bitfit", "last-layer"])
@torch.no_grad()
def test_subsets_merge_exactly(base: Base, kind: Any, tokens: Tensor, tmp_path: Path) -> None:
    model = base.ours()
    delta = choose_subset(model.net, kind)
    for parameter in delta.parameters().values():
        parameter.mul_(1.1).add_(0.01)
    save_adapter(tmp_path / "adapter", model, delta, base=base.folder)
    made = _merge(base, tmp_path)
    assert torch.equal(base.answer(bedplate.load(made.path), tokens), base.answer(model, tokens))
    assert made.measures["delta"] == kind


@torch.no_grad()
def test_whole_modules_of_an_adapter_are_merged_too(llama: Base, tokens: Tensor, tmp_path: Path) -> None:
    theirs = with_lora(llama, modules_to_save=["lm_head", "embed_tokens"], target_modules=["q_proj"])
    for name, parameter in theirs.named_parameters():
        if "modules_to_save" in name:
            parameter.add_(0.05)
    saved(theirs, tmp_path / "adapter")
    made = _merge(llama, tmp_path)
    assert off(llama.answer(bedplate.load(made.path), tokens), llama.peft_answer(theirs, tokens)) < 1e-5


@torch.no_grad()
def test_a_merge_that_answers_otherwise_is_refused(
    llama: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scale that is lost on the way, as it was in other libraries' merges: nothing is left at OUT."""
    from bedplate.deltas.lora import LoraLinear

    saved(with_lora(llama), tmp_path / "adapter")
    honest = LoraLinear.merged

    def careless(layer: LoraLinear) -> Linear:
        layer.scale *= 1.001
        return honest(layer)

    monkeypatch.setattr(LoraLinear, "merged", careless)
    with pytest.raises(WeightsError, match="doesn't answer as its source does"):
        _merge(llama, tmp_path)
    assert sorted(f.name for f in tmp_path.iterdir() if "merged" in f.name and not f.name.endswith(".lock")) == []


def test_other_bases_and_no_base_are_refused(llama: Base, tied: Base, tmp_path: Path) -> None:
    model = llama.ours()
    delta = add_lora(model.net, LoraConfig(), torch.Generator())
    save_adapter(tmp_path / "adapter", model, delta, base=llama.folder)
    with pytest.raises(WeightsError, match="trained on other weights"):
        _merge(tied, tmp_path)
    with pytest.raises(UserError, match="without a manifest"):
        merge_adapter(tmp_path / "adapter", tmp_path / "merged", console=QUIET)
    with pytest.raises(InputError, match="no adapter in it"):
        merge_adapter(tied.folder, tmp_path / "merged", base=llama.folder, console=QUIET)


@torch.no_grad()
def test_folding_in_memory(base: Base, tokens: Tensor, tmp_path: Path) -> None:
    model = base.ours()
    delta = load_adapter(saved(with_lora(base), tmp_path), model)
    wanted = base.answer(model, tokens)
    fold(model.net, delta)
    assert off(base.answer(model, tokens), wanted) < 1e-5
    assert not [name for name, _ in model.net.named_parameters() if "lora" in name]


def test_limits_follow_the_greatest_logit_where_it_is_large() -> None:
    from bedplate.families.certificate import Answers

    def limit(logit: float) -> float:
        answers = Answers((torch.tensor([0]),), (torch.tensor([[logit, -1.0]]),))
        return merge_certificate._merged_limits(answers).logit_error

    assert limit(3.0) == 1e-4
    assert limit(-44.0) == pytest.approx(4.4e-4)


@pytest.mark.slow
def test_smollm2(smollm2: Path, tmp_path: Path) -> None:
    model = bedplate.load(smollm2)
    generator = torch.Generator().manual_seed(0)
    delta = add_lora(model.net, LoraConfig(), generator)
    for layer in delta.layers.values():
        layer.lora_b.data.normal_(std=0.02, generator=generator)
    save_adapter(tmp_path / "adapter", model, delta, base=smollm2)
    made = merge_adapter(tmp_path / "adapter", tmp_path / "merged", base=smollm2, console=QUIET)
    certificate = made.measures["certificate"]
    assert certificate["greatest_logit_error"] < 5e-4  # its logits reach 44
    assert certificate["mean_kl"] < 1e-9
    assert certificate["same_argmax"] == 1.0
