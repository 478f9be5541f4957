"""Biases alone, the last layer alone: what is trained, saved, and loaded back on the base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft_case import Base
from safetensors.torch import load_file, save_file
from torch import Tensor

from bedplate.deltas.adapter import adapted, load_adapter, save_adapter
from bedplate.deltas.names import parameter_spellings
from bedplate.deltas.subset import DELTA, TENSORS, SubsetKind, choose_subset
from bedplate.errors import ArtefactError, InputError, WeightsError
from bedplate.nn.parameters import parameter_table

KINDS: list[SubsetKind] = ["bitfit", "last-layer"]


def _trained(base: Base, kind: SubsetKind, tokens: Tensor) -> tuple[Any, Any]:
    """A few steps, so that values are the delta's own."""
    model = base.ours()
    delta = choose_subset(model.net, kind)
    optimiser = torch.optim.SGD(delta.parameters().values(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        base.answer(model, tokens).square().mean().backward()
        optimiser.step()
    return model, delta


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_trained(base: Base, kind: SubsetKind) -> None:
    model = base.ours()
    delta = choose_subset(model.net, kind)
    trained = {name for name, p in model.net.named_parameters() if p.requires_grad}
    assert trained == delta.parameters().keys()
    theirs = {parameter_spellings(model)[name][0] for name in trained}
    if kind == "last-layer":
        block = "encoder.layer.2." if base.kind == "bert" else "model.layers.2."
        assert all(name.startswith((block, "model.norm")) for name in theirs)
        assert "model.norm.weight" in theirs or base.kind == "bert"
        return
    roles = {parameter_table(model.net)[name].role for name in trained}
    assert roles == {"norm" if base.kind.startswith("llama") else "bias"}
    if base.kind == "qwen2":
        assert all(name.endswith((".q_proj.bias", ".k_proj.bias", ".v_proj.bias")) for name in theirs)
        assert len(theirs) == 9


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_back(base: Base, kind: SubsetKind, tokens: Tensor, tmp_path: Path) -> None:
    model, delta = _trained(base, kind, tokens)
    save_adapter(tmp_path, model, delta, base=base.folder)
    assert {f.name for f in tmp_path.iterdir()} == {DELTA, TENSORS, "bedplate_adapter.json"}
    theirs = load_file(tmp_path / TENSORS)
    known = load_file(base.folder / "model.safetensors").keys()
    assert theirs.keys() <= known  # Hugging Face's spelling
    fresh = base.ours()
    with torch.no_grad():
        plain, wanted = base.answer(fresh, tokens), base.answer(model, tokens)
        tuned = adapted(fresh, tmp_path, base=base.folder)
        assert not torch.equal(wanted, plain)
        assert torch.equal(base.answer(tuned, tokens), wanted)
        assert torch.equal(base.answer(fresh, tokens), plain)
        with delta.disabled():
            assert torch.equal(base.answer(model, tokens), plain)
        assert torch.equal(base.answer(model, tokens), wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_training_leaves_a_shared_base_alone(llama: Base, kind: SubsetKind, tokens: Tensor) -> None:
    from bedplate.deltas.sharing import sharing_copy

    model = llama.ours()
    plain = model(tokens).detach()
    net = sharing_copy(model.net)
    delta = choose_subset(net, kind)
    with torch.no_grad():
        for parameter in delta.parameters().values():
            parameter.add_(1.0)
    assert torch.equal(model(tokens), plain)
    assert not torch.equal(net(tokens), model.net(tokens))


@pytest.mark.parametrize("kind", KINDS)
def test_a_bf16_base_is_trained_in_fp32(llama: Base, kind: SubsetKind, tokens: Tensor, tmp_path: Path) -> None:
    model = llama.ours(dtype="bfloat16")
    delta = choose_subset(model.net, kind)
    assert {p.dtype for p in delta.parameters().values()} == {torch.float32}
    answer = model(tokens)
    answer.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in delta.parameters().values())
    save_adapter(tmp_path, model, delta, base=llama.folder)
    assert {t.dtype for t in load_file(tmp_path / TENSORS).values()} == {torch.float32}
    again = llama.ours(dtype="bfloat16")
    loaded = load_adapter(tmp_path, again, base=llama.folder)
    assert {p.dtype for p in loaded.parameters().values()} == {torch.bfloat16}
    assert torch.equal(again(tokens), answer)
    assert all(p.requires_grad for p in load_adapter(tmp_path, llama.ours(), trainable=True).parameters().values())


def test_damage_is_named(llama: Base, tied: Base, tokens: Tensor, tmp_path: Path) -> None:
    model, delta = _trained(llama, "bitfit", tokens)
    save_adapter(tmp_path, model, delta, base=None)
    whole = load_file(tmp_path / TENSORS)
    said = json.loads((tmp_path / DELTA).read_text())

    def load(error: type[Exception], match: str) -> None:
        with pytest.raises(error, match=match), pytest.warns(UserWarning, match="doesn't record"):
            load_adapter(tmp_path, llama.ours())

    save_file({n: t for n, t in whole.items() if n != "model.norm.weight"}, tmp_path / TENSORS)
    load(WeightsError, r"not the bitfit parameters of this model.*norm\.weight")
    save_file(whole | {"model.layers.0.mlp.up_proj.weight": torch.ones(72, 48)}, tmp_path / TENSORS)
    load(WeightsError, r"up")
    save_file(whole | {"model.norm.weight": torch.ones(7)}, tmp_path / TENSORS)
    load(WeightsError, r"norm\.weight")
    save_file(whole, tmp_path / TENSORS)
    (tmp_path / DELTA).write_text(json.dumps(said | {"kind": "ia3"}))
    load(InputError, "kind 'ia3'")
    (tmp_path / DELTA).write_text(json.dumps(said | {"version": 2}))
    load(ArtefactError, "version 2")
