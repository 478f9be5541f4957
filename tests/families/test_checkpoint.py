"""Safetensors folders: written so that transformers reads them; read so that no damage goes unseen."""

from __future__ import annotations

import contextlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from bedplate.errors import InputError, WeightsError
from bedplate.families import llama
from bedplate.families.checkpoint import Checkpoint, write_checkpoint
from bedplate.families.llama_config import LlamaConfig
from bedplate.families.model import Model, load, model_folder
from bedplate.nn.initialise import initialise

FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
SIZES = {"hidden_size": 16, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 11}


def _tensors() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)
    return {f"t{i}": torch.randn(i + 1, 5, generator=g) for i in range(6)}


def _read(folder: Path) -> dict[str, Tensor]:
    checkpoint = Checkpoint(folder)
    return dict(checkpoint.read({name: name for name in checkpoint.shapes}))


def _same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a good file."""
    folder = tmp_path_factory.mktemp("whole")
    write_checkpoint(folder, _tensors())
    return (folder / FILE).read_bytes()


@pytest.fixture
def model() -> Model:
    net = llama.build(LlamaConfig.model_validate(SIZES))
    initialise(net, 0)
    return Model(LlamaConfig.model_validate(SIZES), net)


@pytest.mark.parametrize("shard_bytes", [10**9, 200, 60, 1])
def test_written_and_read_again(tmp_path: Path, shard_bytes: int) -> None:
    tensors = _tensors() | {"half": torch.ones(3).bfloat16(), "scalar": torch.tensor(2.0), "view": torch.eye(4)[:, 1:3]}
    write_checkpoint(tmp_path, tensors, shard_bytes)
    assert _same(_read(tmp_path), tensors)
    assert (tmp_path / FILE).exists() is (shard_bytes == 10**9)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert _same({k: v for f in files for k, v in load_file(f).items()}, tensors)
    for file in files:
        sizes = [t.numel() * t.element_size() for t in load_file(file).values()]
        assert sum(sizes) <= shard_bytes or len(sizes) == 1
    if shard_bytes < 10**9:
        index = json.loads((tmp_path / INDEX).read_text())
        assert index["metadata"]["total_size"] == sum(t.numel() * t.element_size() for t in tensors.values())
        assert index["weight_map"].keys() == tensors.keys()


def test_transformers_loads_the_shards(tmp_path: Path, model: Model) -> None:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    model.save(tmp_path)
    write_checkpoint(tmp_path, load_file(tmp_path / FILE), shard_bytes=1000)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 3
    theirs, report = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    tokens = torch.arange(11)[None]
    with torch.no_grad():
        # fp32 rounding through two layers.
        torch.testing.assert_close(load(tmp_path)(tokens), theirs(tokens).logits, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model(tokens), theirs(tokens).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sizes", [(10**9, 60), (60, 10**9), (60, 200), (10**9, 10**9)])
def test_a_second_save_leaves_nothing_of_the_first(tmp_path: Path, sizes: tuple[int, int]) -> None:
    write_checkpoint(tmp_path, _tensors() | {"gone": torch.ones(50)}, sizes[0])
    newer = {k: t + 1 for k, t in _tensors().items()}
    (tmp_path / "README.md").write_text("kept")
    write_checkpoint(tmp_path, newer, sizes[1])
    assert _same(_read(tmp_path), newer)
    assert sum(len(load_file(f)) for f in tmp_path.glob("*.safetensors")) == len(newer)
    assert (tmp_path / INDEX).exists() is (sizes[1] < 10**9)
    assert (tmp_path / "README.md").exists()


def test_a_model_may_be_saved_over_the_folder_that_it_came_from(tmp_path: Path, model: Model) -> None:
    tokens = torch.arange(11)[None]
    model.save(tmp_path)
    loaded = load(tmp_path)
    loaded.save(tmp_path, dtype=torch.bfloat16)
    with torch.no_grad():
        assert torch.equal(loaded(tokens), model(tokens))
    assert load(tmp_path).dtype == torch.bfloat16


def _refused(folder: Path, *said: str) -> InputError:
    with pytest.raises(InputError) as caught:
        Checkpoint(folder)
    for words in said:
        assert words in caught.value.problem
    assert caught.value.fix
    return caught.value


def test_truncated_anywhere_is_refused(tmp_path: Path, whole: bytes) -> None:
    for kept in [*range(0, 24), *range(24, len(whole), 37), len(whole) - 1]:
        (tmp_path / FILE).write_bytes(whole[:kept])
        _refused(tmp_path, str(tmp_path / FILE))


def test_bytes_too_many_are_refused(tmp_path: Path, whole: bytes) -> None:
    (tmp_path / FILE).write_bytes(whole + b"\0")
    _refused(tmp_path, "truncated or damaged")


@pytest.mark.parametrize("length", [0, 1, 10**6, 2**31, 2**63, 2**64 - 1])
def test_a_header_length_that_lies_is_refused(tmp_path: Path, whole: bytes, length: int) -> None:
    (tmp_path / FILE).write_bytes(struct.pack("<Q", length) + whole[8:])
    _refused(tmp_path, str(tmp_path / FILE))


def _file(header: Any, data: bytes = b"\0" * 24) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _tensor(shape: Any = (2, 3), offsets: Any = (0, 24), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


BROKEN: dict[str, bytes] = {
    "offset past the end": _file({"a": _tensor(offsets=(0, 4096))}),
    "offsets swapped": _file({"a": _tensor(offsets=(24, 0))}),
    "negative offset": _file({"a": _tensor(offsets=(-24, 24))}),
    "offset of 2**63": _file({"a": _tensor(offsets=(0, 2**63))}),
    "one offset": _file({"a": _tensor(offsets=(24,))}),
    "offsets of text": _file({"a": _tensor(offsets=("0", "x"))}),
    "offsets not those of the shape": _file({"a": _tensor(shape=(2, 2))}),
    "overlapping tensors": _file({"a": _tensor(), "b": _tensor()}),
    "a hole between tensors": _file({"a": _tensor((2,), (0, 8)), "b": _tensor((2,), (16, 24))}),
    "bytes before the first": _file({"a": _tensor((4,), (8, 24))}),
    "huge shape": _file({"a": _tensor(shape=(2**40, 2**40))}),
    "overflowing shape": _file({"a": _tensor(shape=(2**62, 8))}),
    "negative shape": _file({"a": _tensor(shape=(-2, -3))}),
    "shape of text": _file({"a": _tensor(shape="six")}),
    "no shape": _file({"a": {"dtype": "F32", "data_offsets": [0, 24]}}),
    "unknown dtype": _file({"a": _tensor(dtype="F33")}),
    "dtype of null": _file({"a": _tensor(dtype=None)}),
    "a list": _file([1, 2]),
    "a number": _file(3),
    "tensor of null": _file({"a": None}),
    "no JSON": _file(b"{'a': 1}"),
    "no UTF-8": _file(b'{"\xff": 1}'),
    "nested a million deep": _file(b"[" * 1_000_000),
    "empty header with data": _file({}),
    "a pickle": b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01." * 9,
    "a web page": b"<!DOCTYPE html><html><body>404</body></html>" * 3,
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_header_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / FILE).write_bytes(BROKEN[name])
    error = _refused(tmp_path, str(tmp_path / FILE))
    assert len(error.problem) < 1000


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_damage_to_a_header_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, data: st.DataObject
) -> None:
    """Random bytes over the header: a clear error, or tensors that are in the file; never a crash of another kind."""
    length = struct.unpack("<Q", whole[:8])[0]
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, length + 7))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_bytes(damaged)
    with contextlib.suppress(InputError):
        found = _read(folder)
        assert sum(t.numel() * t.element_size() for t in found.values()) == len(whole) - 8 - length


def _sharded(folder: Path) -> dict[str, Any]:
    write_checkpoint(folder, _tensors(), 60)
    index: dict[str, Any] = json.loads((folder / INDEX).read_text())
    return index


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    _sharded(tmp_path)
    gone = sorted(tmp_path.glob("model-*"))[1]
    gone.unlink()
    _refused(tmp_path, gone.name, "missing")


def test_a_truncated_shard_is_named(tmp_path: Path) -> None:
    _sharded(tmp_path)
    cut = sorted(tmp_path.glob("model-*-of-*"))[2]
    os.truncate(cut, cut.stat().st_size - 1)
    _refused(tmp_path, cut.name, "truncated")


@pytest.mark.parametrize(
    "name", ["../outside.safetensors", "/etc/passwd", "sub/shard.safetensors", "..", ".", "", 7, None, ["x"], "a\0b"]
)
def test_an_index_that_points_elsewhere_is_refused(tmp_path: Path, name: Any) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    index = _sharded(folder)
    save_file({"t0": torch.zeros(1)}, tmp_path / "outside.safetensors")
    (folder / "sub").mkdir()
    save_file({"t0": torch.zeros(1)}, folder / "sub" / "shard.safetensors")
    index["weight_map"]["t0"] = name
    (folder / INDEX).write_text(json.dumps(index))
    _refused(folder, str(folder))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "3", "{}", '{"weight_map": []}', '{"weight_map": 1}', "[" * 100_000, "\udcff"]
)
def test_a_broken_index_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / INDEX).write_bytes(content.encode("utf-8", "surrogateescape"))
    _refused(tmp_path, INDEX)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "one.safetensors")
    save_file({"a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "two.safetensors")
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}))
    _refused(tmp_path, "two.safetensors: a is also in one.safetensors")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "model.pt", "last.ckpt"])
def test_pickled_weights_are_refused_and_never_opened(tmp_path: Path, model: Model, name: str) -> None:
    model.save(tmp_path)
    (tmp_path / FILE).unlink()
    evil = tmp_path / "ran"
    (tmp_path / name).write_bytes(f"cos\nsystem\n(S'touch {evil}'\ntR.".encode())
    with pytest.raises(WeightsError, match=name):
        load(tmp_path)
    assert not evil.exists()


def test_an_index_that_names_a_pickle_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "pytorch_model.bin")
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": "pytorch_model.bin"}}))
    _refused(tmp_path, "pytorch_model.bin")


def test_folders_without_weights_say_so(tmp_path: Path, model: Model) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no config\.json"):
        load(tmp_path)
    model.save(tmp_path)
    (tmp_path / FILE).unlink()
    with pytest.raises(InputError, match=r"no model\.safetensors"):
        load(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "[" * 100_000, "\udcff"])
def test_a_broken_config_is_refused(tmp_path: Path, model: Model, content: str) -> None:
    model.save(tmp_path)
    (tmp_path / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"config\.json"):
        load(tmp_path)


@pytest.mark.parametrize(
    "said",
    [
        {"eos_token_id": 2.0},
        {"eos_token_id": "x"},
        {"eos_token_id": True},
        {"eos_token_id": 10**9},
        {"eos_token_id": 11},
        {"eos_token_id": [1, -1]},
        {"eos_token_id": [[1]]},
        {"eos_token_id": {"a": 1}},
        {"bos_token_id": [1]},
        {"pad_token_id": 11},
    ],
)
def test_a_token_that_the_model_lacks_is_refused(tmp_path: Path, model: Model, said: dict[str, Any]) -> None:
    model.save(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match=rf"generation_config\.json: {next(iter(said))} is .*tokens 0 to 10"):
        load(tmp_path)


def test_tokens_that_the_model_has_are_read(tmp_path: Path, model: Model) -> None:
    model.save(tmp_path)
    said = {"bos_token_id": None, "eos_token_id": [0, 10], "pad_token_id": -1}
    (tmp_path / "generation_config.json").write_text(json.dumps(said))
    assert load(tmp_path).generation == said


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"intermediate_size": 10**12}, "weights don't fit"),
        ({"intermediate_size": 10**18}, "intermediate_size"),
        ({"vocab_size": 10**15}, "weights don't fit"),
        ({"vocab_size": 10**18}, "vocab_size"),
    ],
)
def test_sizes_that_the_file_cant_have_allocate_nothing(
    tmp_path: Path, model: Model, keys: dict[str, Any], named: str
) -> None:
    model.save(tmp_path)
    found = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(found | keys))
    with pytest.raises(WeightsError, match=named):
        load(tmp_path)


@pytest.mark.parametrize("asked", ["runs/quikstart", "runs/quikstart/release"])
def test_a_mistyped_folder_is_said_with_its_neighbour(tmp_path: Path, asked: str) -> None:
    (tmp_path / "runs" / "quickstart" / "release").mkdir(parents=True)
    with pytest.raises(InputError, match=r"no such folder; nearest: .*runs/quickstart\n"):
        model_folder(tmp_path / asked)


def test_a_run_is_loaded_by_the_model_inside(tmp_path: Path, model: Model) -> None:
    model.save(tmp_path / "model")
    assert load(tmp_path).parameter_count() == model.parameter_count()
