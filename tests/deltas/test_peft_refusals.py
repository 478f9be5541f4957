"""Whatever in a PEFT folder changes the mathematics and isn't supported is refused by name; so is what doesn't fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft_case import Base, make_base, saved, with_lora
from safetensors.torch import load_file, save_file

from bedplate.deltas.adapter import load_adapter, save_adapter
from bedplate.deltas.lora import LoraConfig, LoraLinear, add_lora
from bedplate.deltas.peft_config import CONFIG, read_peft_config
from bedplate.deltas.peft_folder import WEIGHTS
from bedplate.errors import InputError, WeightsError

pytestmark = pytest.mark.filterwarnings("ignore::bedplate.deltas.adapter.AdapterWarning")


@pytest.fixture
def folder(llama: Base, tmp_path: Path) -> Path:
    return saved(with_lora(llama), tmp_path / "adapter")


def _change(folder: Path, **keys: Any) -> None:
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def _change_tensors(folder: Path, **changed: Any) -> None:
    tensors = load_file(folder / WEIGHTS)
    for name, tensor in changed.items():
        key = name.replace("__", ".")
        if tensor is None:
            del tensors[key]
        else:
            tensors[key] = tensor
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


REFUSED: dict[str, dict[str, Any]] = {
    "use_dora": {"use_dora": True},
    "lora_bias": {"lora_bias": True},
    "alora_invocation_tokens": {"alora_invocation_tokens": [1, 2]},
    "trainable_token_indices": {"trainable_token_indices": [3]},
    "layer_replication": {"layer_replication": [[0, 2]]},
    "target_parameters": {"target_parameters": ["experts.gate_up_proj"]},
    "use_qalora": {"use_qalora": True},
    "use_bdlora": {"use_bdlora": {"nblocks": 2}},
    "arrow_config": {"arrow_config": {"top_k": 3}},
    "kasa_config": {"kasa_config": {"beta": 0.1}},
    "monteclora_config": {"monteclora_config": {"num_samples": 3}},
    "init_lora_weights": {"init_lora_weights": "pissa_niter_4"},
    "peft_type": {"peft_type": "IA3"},
    "a_key_of_the_future": {"a_key_of_the_future": 0.5},
}


@pytest.mark.parametrize("key", REFUSED)
def test_refused_by_name(llama: Base, folder: Path, key: str) -> None:
    _change(folder, **REFUSED[key])
    model = llama.ours()
    with pytest.raises(WeightsError, match=key):
        load_adapter(folder, model)
    assert not any(isinstance(m, LoraLinear) for m in model.net.modules())


def test_every_key_of_peft_is_known() -> None:
    """A plain LoRA as PEFT itself writes it, every field present; and none of its fields is unknown to us."""
    from dataclasses import fields

    from bedplate.deltas import peft_config

    known = peft_config._HARMLESS | peft_config._HANDLED | peft_config._REFUSED.keys()
    # A training method's settings: refused as unknown where they say anything.
    later = {"velora_config"}
    assert {f.name for f in fields(peft.LoraConfig)} - known <= later
    theirs = peft.LoraConfig(r=3, target_modules=["q_proj"]).to_dict()
    settings = read_peft_config(theirs | {"peft_type": "LORA", "target_modules": ["q_proj"]}, "x")
    assert settings.lora == LoraConfig(rank=3, alpha=8)


NONSENSE: dict[str, dict[str, Any]] = {
    "r='8'": {"r": "8"},
    "a rank of 0": {"r": 0},
    "lora_alpha=None": {"lora_alpha": None},
    "rank_pattern=": {"rank_pattern": ["q_proj"]},
    "no regular expression": {"target_modules": "(q_proj"},
    "no target_modules": {"target_modules": None},
    "bias='some'": {"bias": "some"},
    "layers_to_transform=['all']": {"layers_to_transform": "all"},
}


@pytest.mark.parametrize("problem", NONSENSE)
def test_values_that_make_no_sense(llama: Base, folder: Path, problem: str) -> None:
    _change(folder, **NONSENSE[problem])
    with pytest.raises(InputError) as error:
        load_adapter(folder, llama.ours())
    assert problem in str(error.value)


_Q = "base_model.model.model.layers.0.self_attn.q_proj"
TENSORS: dict[str, dict[str, Any]] = {
    "names what the file lacks: model.layers.0.self_attn.q_proj.lora_B": {f"{_Q}.lora_B.weight": None},
    "nothing in this model is called base_model.model.model.layers.9": {
        "base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight": torch.ones(4, 48)
    },
    "nothing in this model is called base_model.model.score.weight": {
        "base_model.model.score.weight": torch.ones(3, 48)
    },
    "nothing in this model is called model.layers.0": {"model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(1)},
    "lora_magnitude_vector": {f"{_Q}.lora_magnitude_vector": torch.ones(48)},
    "q_proj.lora_A.weight is [4, 47], not [4, 48]": {f"{_Q}.lora_A.weight": torch.ones(4, 47)},
    "q_proj.lora_B.weight is [48, 5], not [48, 4]": {f"{_Q}.lora_B.weight": torch.ones(48, 5)},
    "lm_head.lora_A.weight: deltas on embeddings and heads": {
        "base_model.model.lm_head.lora_A.weight": torch.ones(4, 48)
    },
    "lora_embedding_A: deltas on embeddings": {
        "base_model.model.model.embed_tokens.lora_embedding_A": torch.ones(4, 131)
    },
    "is stored as torch.int8": {f"{_Q}.lora_A.weight": torch.ones(4, 48, dtype=torch.int8)},
}


@pytest.mark.parametrize("problem", TENSORS)
def test_tensors_that_do_not_fit(llama: Base, folder: Path, problem: str) -> None:
    tensors = load_file(folder / WEIGHTS) | TENSORS[problem]
    save_file({n: t for n, t in tensors.items() if t is not None}, folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(WeightsError) as error:
        load_adapter(folder, llama.ours())
    assert problem in str(error.value)


def test_deltas_that_the_configuration_does_not_name(llama: Base, folder: Path) -> None:
    """PEFT would pass over them in silence."""
    _change(folder, target_modules=["q_proj"])
    with pytest.raises(WeightsError, match=r"doesn't name: model.layers.0.self_attn.k_proj"):
        load_adapter(folder, llama.ours())


def test_a_damaged_or_missing_file(llama: Base, folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:-7])
    with pytest.raises(InputError, match="not readable as safetensors"):
        load_adapter(folder, llama.ours())
    (folder / WEIGHTS).unlink()
    with pytest.raises(InputError, match=f"no {WEIGHTS}"):
        load_adapter(folder, llama.ours())
    (folder / "adapter_model.bin").write_bytes(b"\x80\x02")
    with pytest.raises(WeightsError, match="a pickle"):
        load_adapter(folder, llama.ours())
    (folder / CONFIG).unlink()
    with pytest.raises(InputError, match="not an adapter"):
        load_adapter(folder, llama.ours())


def test_a_tied_head_that_peft_replaced_alone(tied: Base, tmp_path: Path) -> None:
    theirs = with_lora(tied, modules_to_save=["lm_head"], target_modules=["q_proj"])
    same = saved(theirs, tmp_path / "same")
    assert not load_adapter(same, tied.ours()).replaced.parameters()  # a copy of the base's own says nothing
    for name, parameter in theirs.named_parameters():
        if "modules_to_save" in name:
            parameter.data += 0.1
    with pytest.raises(WeightsError, match="as embedding and as head"):
        load_adapter(saved(theirs, tmp_path / "changed"), tied.ours())
    with pytest.raises(WeightsError, match="deltas on embeddings and heads"):
        load_adapter(saved(with_lora(tied, target_modules=["lm_head"]), tmp_path / "head"), tied.ours())


def test_another_architecture(llama: Base, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="nothing in this model is called"):
        load_adapter(folder, make_base("bert", tmp_path / "bert").ours())
    with pytest.raises(WeightsError, match="names what the file lacks"):
        load_adapter(saved(with_lora(llama, target_modules=["q_proj"]), tmp_path / "q"), _renamed(llama, tmp_path))


def _renamed(llama: Base, tmp_path: Path) -> Any:
    model = llama.ours()
    path = tmp_path / "q" / WEIGHTS
    tensors = load_file(path)
    save_file({n: t for n, t in tensors.items() if "layers.2" not in n}, path, metadata={"format": "pt"})
    return model


def test_an_adapter_that_replaces_parameters_is_not_written_as_a_plain_one(llama: Base, tmp_path: Path) -> None:
    theirs = with_lora(llama, modules_to_save=["lm_head"], target_modules=["q_proj"])
    model = llama.ours()
    delta = load_adapter(saved(theirs, tmp_path / "theirs"), model)
    with pytest.raises(WeightsError, match=r"also replaces head\.weight"):
        save_adapter(tmp_path / "ours", model, delta, base=None)


def test_targets_and_patterns_that_meet_nothing(llama: Base) -> None:
    for config in (
        LoraConfig(targets=("q_porj",)),
        LoraConfig(rank_pattern={"q_porj": 3}),
        LoraConfig(alpha_pattern={"(q": 3}),
    ):
        with pytest.raises(InputError, match=r"q_porj|\(q"):
            add_lora(llama.ours().net, config, torch.Generator())
