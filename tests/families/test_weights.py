"""Weights that don't fit the configuration are refused, and the message names them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bedplate.errors import InputError, WeightsError
from bedplate.families import llama
from bedplate.families.llama_config import LlamaConfig
from bedplate.families.model import Model, load
from bedplate.families.weights import Map, Table
from bedplate.nn.initialise import initialise

Change = Callable[[dict[str, Tensor]], None]


def _model(**keys: object) -> Model:
    sizes = {"hidden_size": 16, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig.model_validate({**sizes, "vocab_size": 11, **keys})
    net = llama.build(config)
    initialise(net, 0)
    return Model(config, net)


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Path]:
    """`changed(change, **keys)`: the folder of a tiny model whose tensors `change` has been at."""

    def make(change: Change, **keys: object) -> Path:
        _model(**keys).save(tmp_path)
        tensors = load_file(tmp_path / "model.safetensors")
        change(tensors)
        save_file(tensors, tmp_path / "model.safetensors")
        return tmp_path

    return make


def _remove(*names: str) -> Change:
    return lambda tensors: [tensors.pop(name) for name in names] and None


def _add(**shapes: tuple[int, ...]) -> Change:
    return lambda tensors: tensors.update({k.replace("__", "."): torch.zeros(v) for k, v in shapes.items()})


MLP = "model.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_remove(MLP), f"missing: {MLP}"),
        (_remove("lm_head.weight"), "missing: lm_head.weight"),
        (_remove(MLP, "model.norm.weight"), f"missing: {MLP}, model.norm.weight"),
        (_add(extra=(3,)), "unknown: extra"),
        (_add(model__layers__2__mlp__up_proj__weight=(12, 16)), "unknown: model.layers.2.mlp.up_proj.weight"),
        (_add(model__layers__0__self_attn__q_proj__bias=(16,)), "unknown: model.layers.0.self_attn.q_proj.bias"),
        (lambda t: t.update({MLP: t[MLP].T.contiguous()}), f"misshapen: {MLP} is [16, 12] where the configuration"),
        (lambda t: t.update({MLP: t[MLP].flatten()}), f"misshapen: {MLP} is [192]"),
        (lambda t: t.update({"model.embed_tokens.weight": torch.zeros(12, 16)}), "is [12, 16] where the configuration"),
        (lambda t: t.update({f"x{i:02}": torch.zeros(1) for i in range(20)}), "x07 and 12 more"),
        (lambda t: t.update({MLP: t[MLP].to(torch.int8)}), f"{MLP} is stored as torch.int8"),
        (lambda t: t.update({MLP: t[MLP].to(torch.float8_e4m3fn)}), f"{MLP} is stored as torch.float8"),
    ],
)
def test_what_doesnt_fit_is_named(changed: Callable[..., Path], change: Change, expected: str) -> None:
    folder = changed(change)
    with pytest.raises(WeightsError) as caught:
        load(folder)
    assert expected in caught.value.problem
    assert str(folder) in caught.value.problem
    assert caught.value.fix


def test_all_that_is_wrong_is_said_at_once(changed: Callable[..., Path]) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors["odd"] = tensors.pop(MLP)
        tensors["model.norm.weight"] = torch.zeros(3)

    with pytest.raises(WeightsError, match=rf"missing: {MLP}; unknown: odd; misshapen: model.norm.weight"):
        load(changed(change))


def test_buffers_that_are_computed_may_lie_in_the_file(changed: Callable[..., Path]) -> None:
    folder = changed(
        lambda t: t.update({f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.zeros(4) for i in range(2)})
    )
    assert load(folder).parameter_count() == _model().parameter_count()


def test_a_copy_of_a_tied_head_is_let_through(changed: Callable[..., Path]) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        assert "lm_head.weight" not in tensors
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()

    folder = changed(change, tie_word_embeddings=True)
    loaded = load(folder)
    assert loaded.head_weight is loaded.net.embed.weight
    assert loaded.parameter_count() == _model(tie_word_embeddings=True).parameter_count()


@pytest.mark.parametrize("wrong", [lambda t: t + 1e-3, lambda t: t[:5], lambda t: t * float("nan")])
def test_a_tied_head_that_differs_is_an_error(changed: Callable[..., Path], wrong: Callable[[Tensor], Tensor]) -> None:
    """Neither head may be thrown away in silence."""

    def change(tensors: dict[str, Tensor]) -> None:
        tensors["lm_head.weight"] = wrong(tensors["model.embed_tokens.weight"]).clone()

    with pytest.raises(WeightsError, match=r"ties lm_head\.weight to model\.embed_tokens\.weight"):
        load(changed(change, tie_word_embeddings=True))


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    _model().save(tmp_path)
    found = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(found | {"model_type": "mamba"}))
    with pytest.raises(
        WeightsError, match=r"config\.json: model_type 'mamba' is unknown\nKnown: .*bert, .*llama, mistral"
    ):
        load(tmp_path)


def test_an_unknown_dtype_is_an_error(tmp_path: Path) -> None:
    _model().save(tmp_path)
    with pytest.raises(InputError, match=r"dtype=int4.*\nUse one of float32"):
        load(tmp_path, dtype="int4")


def test_a_parameter_that_the_table_lacks_is_named() -> None:
    with pytest.raises(WeightsError, match=r"no counterpart of blocks\.0\.novel"):
        llama.WEIGHTS.pairs(["embed.weight", "blocks.0.novel"], 1)


def test_older_spellings_are_read_and_the_first_is_written() -> None:
    table = Table([Map("a.{i}", "new.{i}", older=("old.{i}", "oldest.{i}")), Map("b", "b")], ignored=("junk.{i}",))
    shapes = {"a.0": (1,), "a.1": (1,), "b": (2,)}
    found = {"oldest.0": (1,), "new.1": (1,), "b": (2,), "junk.1": (9,)}
    assert table.match(shapes, found, 2, "here", {}).names == {"a.0": "oldest.0", "a.1": "new.1", "b": "b"}
    assert [theirs[0] for theirs in table.pairs(shapes, 2).values()] == ["new.0", "new.1", "b"]
    with pytest.raises(WeightsError, match=r"here: .*unknown: junk\.2, old\.1"):
        table.match(shapes, found | {"old.1": (1,), "junk.2": (9,)}, 2, "here", {})


def test_no_two_lines_of_a_table_are_alike() -> None:
    ours = [m.ours for m in llama.WEIGHTS.maps]
    theirs = [t for m in llama.WEIGHTS.maps for t in m.spellings]
    assert len(set(ours)) == len(ours)
    assert len(set(theirs)) == len(theirs)
