"""Which base an adapter belongs to: digests, refusals, and finding the base again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft_case import Base, make_base, saved, with_lora
from torch import Tensor

import bedplate
from bedplate.config import Config
from bedplate.console import Console
from bedplate.deltas.adapter import AdapterWarning, adapted, load_adapter, save_adapter
from bedplate.deltas.digest import RECORD, BaseRecord, weights_digest
from bedplate.deltas.lineage import base_of
from bedplate.deltas.lora import LoraConfig, add_lora
from bedplate.errors import ArtefactError, InputError, TokenizerError, UserError, WeightsError
from bedplate.families.imports import import_model
from bedplate.generate.model import TextModel, load_text
from bedplate.ledger import Artefact
from bedplate.ledger.production import produce
from bedplate.ledger.stage import Inputs, Stage
from bedplate.ledger.work import Work


class _Nothing(Config):
    """No settings."""


def _tune(config: _Nothing, inputs: Inputs, work: Work) -> None:
    """A stage that makes an adapter, as `adapt` does, without training it."""
    base = inputs["base"]
    assert isinstance(base, Artefact)
    _write(base.path, work.path)


def _write(base: Path, folder: Path, seed: int = 0) -> Path:
    model = bedplate.load(base)
    delta = add_lora(model.net, LoraConfig(rank=2), torch.Generator().manual_seed(seed))
    for layer in delta.layers.values():
        layer.lora_b.data.normal_(std=0.1, generator=torch.Generator().manual_seed(seed))
    save_adapter(folder, model, delta, base=base)
    return folder


TUNE = Stage("tune", 1, "adapter", _Nothing, {"base": "model|run|release"}, run=f"{__name__}:_tune")


@pytest.fixture
def artefacts(llama: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A base and an adapter, both artefacts."""
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules[_tune.__module__])
    base = import_model(llama.folder, tmp_path / "base", console=Console.quiet())
    adapter = produce(TUNE, _Nothing(), {"base": base}, tmp_path / "adapter", name="adapter", console=Console.quiet())
    return base.path, adapter.path


def test_the_digest_is_of_bytes_and_not_of_places(llama: Base, artefacts: tuple[Path, Path], tmp_path: Path) -> None:
    base, _ = artefacts
    digest = weights_digest(base)
    copy = Path(shutil.copytree(base, tmp_path / "elsewhere"))
    assert weights_digest(copy) == digest
    (copy / "bedplate.json").unlink()
    assert weights_digest(copy) == digest  # hashed, where the artefact's manifest vouched for it
    (tmp_path / "run").mkdir()
    shutil.move(copy, tmp_path / "run" / "model")
    assert weights_digest(tmp_path / "run") == digest
    bedplate.load(base).save(tmp_path / "narrow", dtype=torch.bfloat16)
    assert weights_digest(tmp_path / "narrow") != digest
    with pytest.raises(InputError, match="no config"):
        weights_digest(tmp_path)


def test_bytes_that_changed_under_a_manifest_are_seen(artefacts: tuple[Path, Path]) -> None:
    base, adapter = artefacts
    file = base / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtefactError, match=r"model\.safetensors: its bytes have changed"):
        bedplate.load(base, adapter=adapter)


def test_another_base_is_refused_by_both_digests(llama: Base, artefacts: tuple[Path, Path], tmp_path: Path) -> None:
    base, adapter = artefacts
    other = load_text(base)
    other.net.embed.weight.data[0, 0] += 1e-3
    other.save(tmp_path / "other")
    with pytest.raises(WeightsError) as error:
        bedplate.load(tmp_path / "other", adapter=adapter)
    assert weights_digest(base) in str(error.value)
    assert weights_digest(tmp_path / "other") in str(error.value)
    assert "on base" in str(error.value)
    with pytest.raises(WeightsError, match=weights_digest(base)):
        adapted(other, adapter, base=tmp_path / "other")


def test_another_tokenizer_is_refused(artefacts: tuple[Path, Path]) -> None:
    base, adapter = artefacts
    model = load_text(base)
    record = BaseRecord.read(adapter)
    assert record is not None
    assert model.tokenizer is not None
    assert record.tokenizer == model.tokenizer.fingerprint
    definition = json.loads((base / "tokenizer.json").read_text())
    definition["model"]["vocab"]["new"] = 91
    from bedplate.codecs.text import TextTokenizer

    model.tokenizer = TextTokenizer(json.dumps(definition))
    with pytest.raises(TokenizerError, match=record.tokenizer):
        load_adapter(adapter, model)


def test_a_foreign_adapter_is_taken_with_a_warning(llama: Base, tokens: Tensor, tmp_path: Path) -> None:
    folder = saved(with_lora(llama), tmp_path)
    assert BaseRecord.read(folder) is None
    with pytest.warns(AdapterWarning, match="doesn't record which weights"):
        bedplate.load(llama.folder, adapter=folder)


@torch.no_grad()
def test_an_adapter_artefact_finds_its_base(artefacts: tuple[Path, Path], tokens: Tensor) -> None:
    base, adapter = artefacts
    assert base_of(adapter) == base.resolve()
    found, named = bedplate.load(adapter), bedplate.load(base, adapter=adapter)
    assert isinstance(found, TextModel)
    assert torch.equal(found(tokens), named(tokens))
    assert not torch.equal(found(tokens), bedplate.load(base)(tokens))
    assert found.generate(["abc"], max_tokens=3, temperature=0)[0].usage.completion_tokens


def test_both_moved_together_are_found(artefacts: tuple[Path, Path], tmp_path: Path) -> None:
    base, adapter = artefacts
    (tmp_path / "moved").mkdir()
    for folder in (base, adapter):
        shutil.move(folder, tmp_path / "moved" / folder.name)
    assert base_of(tmp_path / "moved" / adapter.name) == (tmp_path / "moved" / base.name).resolve()


def test_a_base_that_moved_alone_is_asked_for(artefacts: tuple[Path, Path], tmp_path: Path) -> None:
    base, adapter = artefacts
    digest = weights_digest(base)
    shutil.move(base, tmp_path / "elsewhere")
    with pytest.raises(ArtefactError) as error:
        bedplate.load(adapter)
    assert digest in str(error.value)
    assert "bedplate.load(BASE, adapter=" in str(error.value)
    assert "--base" in str(error.value)
    bedplate.load(tmp_path / "elsewhere", adapter=adapter)


def test_a_base_that_was_made_anew_is_noticed(artefacts: tuple[Path, Path], tmp_path: Path) -> None:
    base, adapter = artefacts
    other = make_base("llama tied", tmp_path / "source")
    shutil.rmtree(base)
    import_model(other.folder, base, console=Console.quiet())
    with pytest.raises(ArtefactError, match="isn't where it was"):
        bedplate.load(adapter)


def test_a_folder_without_a_manifest_says_so(llama: Base, tmp_path: Path) -> None:
    folder = _write(llama.folder, tmp_path / "plain")
    with pytest.raises(UserError, match="without a manifest"):
        bedplate.load(folder)
    bedplate.load(llama.folder, adapter=folder)


def test_a_record_of_a_newer_form_is_refused(llama: Base, tmp_path: Path) -> None:
    folder = _write(llama.folder, tmp_path / "plain")
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps(record | {"version": 2}))
    with pytest.raises(ArtefactError, match="version 2"):
        bedplate.load(llama.folder, adapter=folder)
    (folder / RECORD).write_text(json.dumps(record | {"base": {}}))
    with pytest.raises(InputError, match="base's weights"):
        bedplate.load(llama.folder, adapter=folder)


def test_an_encoder_is_loaded_as_one(base: Base, tmp_path: Path) -> None:
    from bedplate.families.encoder_model import EncoderModel

    model = base.ours()
    assert isinstance(model, EncoderModel if base.kind == "bert" else TextModel)
    if base.kind == "bert":
        folder = _write(base.folder, tmp_path / "plain")
        tuned = bedplate.load(base.folder, adapter=folder)
        assert isinstance(tuned, EncoderModel)
        assert (tuned.embed(["abc"]) != model.embed(["abc"])).any()
        with pytest.raises(WeightsError, match="an encoder"):
            load_text(base.folder)
