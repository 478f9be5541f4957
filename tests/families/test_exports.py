"""Exports: what is written answers as what was read, here and in `transformers`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bedplate.console import Console
from bedplate.errors import InputError, TokenizerError, WeightsError
from bedplate.families.exports import export_model
from bedplate.families.gguf_import import read_model
from bedplate.families.gguf_reader import GGUF
from bedplate.families.imports import import_model
from bedplate.families.model import Model
from bedplate.ledger import open_artefact

TOKENS = torch.randint(0, 400, (2, 40), generator=torch.Generator().manual_seed(0))


def theirs(folder: Path, **how: Any) -> torch.Tensor:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **how).eval()
    with torch.inference_mode():
        return model(TOKENS).logits


def ours(path: Path) -> torch.Tensor:
    if path.suffix != ".gguf":
        model = Model.load(path, device="cpu", dtype=torch.float32)
    else:
        with GGUF.open(path) as file:
            model = read_model(file).build()
    with torch.inference_mode():
        return model(TOKENS)


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 10000.0}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3 |= {"original_max_position_embeddings": 64, "rope_theta": 500000.0}
LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "llama": {"kind": "llama"},
    "llama tied": {"kind": "llama", "tie_word_embeddings": True},
    "llama biases": {"kind": "llama", "attention_bias": True, "mlp_bias": True},
    "llama linear": {"kind": "llama", "rope_parameters": LINEAR},
    "llama yarn": {"kind": "llama", "rope_parameters": YARN},
    "llama 3": {"kind": "llama", "rope_parameters": LLAMA3, "head_dim": 64},
    "mistral": {"kind": "mistral", "sliding_window": 16},
    "mistral full": {"kind": "mistral", "sliding_window": None},
    "qwen2": {"kind": "qwen2", "tie_word_embeddings": True},
    "qwen3": {"kind": "qwen3", "head_dim": 10},
}
READ_BY_TRANSFORMERS = ("llama", "llama tied", "mistral full", "qwen2")
"""Those whose GGUF `transformers` reads in full; it knows neither biases, nor scalings, nor windows, nor head sizes of
Qwen 3 there."""


@pytest.mark.parametrize("name", VARIANTS)
def test_a_gguf_answers_as_its_source(hf_folder, tmp_path, name):
    folder = hf_folder(**VARIANTS[name])
    exported = export_model(folder, tmp_path / "out", format="gguf", console=Console.quiet())
    path = exported.file("model.gguf")
    expected = theirs(folder)
    # Scalings pass through float32 keys and factors; the rest is bit-exact up to the order of sums.
    assert (ours(path) - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert exported.kind == "gguf"
    assert exported.measures["certificate"]["greatest_logit_error"] <= 1e-4
    if name in READ_BY_TRANSFORMERS:
        assert (theirs(path.parent, gguf_file=path.name) - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "q8_0"])
def test_gguf_in_other_types(hf_folder, tmp_path, dtype):
    folder = hf_folder(hidden_size=64, intermediate_size=96, num_attention_heads=4)
    exported = export_model(folder, tmp_path / "out", format="gguf", dtype=dtype, console=Console.quiet())
    path = exported.file("model.gguf")
    with GGUF.open(path) as file:
        kinds = {info.type.name for info in file.tensors.values()}
        assert file.metadata["general.file_type"] == {"float16": 1, "bfloat16": 32, "q8_0": 7}[dtype]
    assert kinds == {"F32", {"float16": "F16", "bfloat16": "BF16", "q8_0": "Q8_0"}[dtype]}
    assert exported.measures["certificate"]["stored"] == dtype
    assert 0 < exported.measures["certificate"]["mean_kl"] < 1e-2
    assert (theirs(path.parent, gguf_file=path.name) - ours(path)).abs().max() < 1e-4


def test_matrices_that_do_not_divide_into_blocks_are_f16(hf_folder, tmp_path):
    exported = export_model(hf_folder(), tmp_path / "out", format="gguf", dtype="q8_0", console=Console.quiet())
    with GGUF.open(exported.file("model.gguf")) as file:
        assert file.tensors["blk.0.attn_q.weight"].type.name == "F16"  # rows of 48
        assert file.tensors["blk.0.ffn_down.weight"].type.name == "Q8_0"  # rows of 96


def test_tokenizer_and_template_survive_a_gguf(hf_folder, tmp_path):
    folder = hf_folder()
    (folder / "chat_template.jinja").write_text("{% for m in messages %}<|im_start|>{{ m.content }}{% endfor %}")
    exported = export_model(folder, tmp_path / "out", format="gguf", console=Console.quiet())
    back = import_model(exported.path, tmp_path / "back", console=Console.quiet())  # the folder's only GGUF
    before, after = Model.load(folder), Model.load(back.path)
    assert after.tokenizer.chat_template == before.tokenizer.chat_template
    assert after.tokenizer.special_tokens == before.tokenizer.special_tokens
    assert (after.tokenizer.bos_id, after.tokenizer.eos_id) == (0, 2)
    assert after.config.eos_token_id == 2
    text = Path(__file__).read_text()
    assert after.tokenizer.encode(text, specials=True) == before.tokenizer.encode(text, specials=True)


def test_a_half_precision_gguf_is_imported_as_it_is(hf_folder, tmp_path):
    folder = hf_folder(dtype=torch.bfloat16)
    exported = export_model(folder, tmp_path / "out", format="gguf", console=Console.quiet())
    back = import_model(exported.file("model.gguf"), tmp_path / "back", console=Console.quiet())
    assert back.measures["certificate"]["stored"] == "bfloat16"
    assert torch.equal(ours(back.path), ours(folder))


def test_a_folder_in_another_type_keeps_its_lineage(hf_folder, tmp_path):
    imported = import_model(hf_folder("qwen2"), tmp_path / "model", console=Console.quiet())
    exported = export_model(imported.path, tmp_path / "half", dtype="bfloat16", console=Console.quiet())
    assert exported.kind == "model"
    assert exported.manifest.inputs[0].digest == imported.digest
    assert json.loads(exported.file("config.json").read_text())["dtype"] == "bfloat16"
    assert (theirs(exported.path) - ours(exported.path)).abs().max() < 1e-4
    assert export_model(imported.path, tmp_path / "half", dtype="bfloat16", console=Console.quiet()).cached
    open_artefact(exported.path).verify()


def test_llama_cpp_ignoring_a_window_is_said(hf_folder, tmp_path):
    exported = export_model(
        hf_folder("mistral", sliding_window=16), tmp_path / "o", format="gguf", console=Console.quiet()
    )
    assert "sliding window of 16" in exported.measures["notes"][0]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"format": "onnx"}, "unknown format 'onnx'"),
        ({"dtype": "int3"}, "unknown dtype 'int3' for hf"),
        ({"dtype": "q8_0"}, "unknown dtype 'q8_0' for hf"),
    ],
)
def test_unknown_formats_and_types_are_refused(hf_folder, tmp_path, how, message):
    with pytest.raises(InputError, match=message):
        export_model(hf_folder(), tmp_path / "out", console=Console.quiet(), **how)


def test_out_is_a_folder(hf_folder, tmp_path):
    with pytest.raises(InputError, match="OUT is a folder"):
        export_model(hf_folder(), tmp_path / "a.gguf", format="gguf", console=Console.quiet())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}}, "dynamic RoPE"),
        ({"rope_parameters": YARN | {"attention_factor": 1.5}}, "YaRN"),
        (
            {"kind": "qwen2", "use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1},
            "windows of qwen2",
        ),
    ],
)
def test_configurations_that_gguf_cannot_say_are_refused(hf_folder, tmp_path, changes, message):
    with pytest.raises(WeightsError, match=message):
        export_model(hf_folder(**changes), tmp_path / "out", format="gguf", console=Console.quiet())
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_gguf_cannot_say_is_refused(hf_folder, tmp_path):
    folder = hf_folder()
    content = json.loads((folder / "tokenizer.json").read_text())
    content["pre_tokenizer"] = {"type": "WhitespaceSplit"}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(TokenizerError, match="GGUF can't say"):
        export_model(folder, tmp_path / "out", format="gguf", console=Console.quiet())


def test_values_beyond_float16_are_refused(hf_folder, tmp_path):
    model = Model.load(hf_folder())
    with torch.no_grad():
        model.net.get_parameter("embed.weight")[3, 4] = 70000.0
    model.save(tmp_path / "large")
    with pytest.raises(WeightsError, match=r"token_embd.weight: values beyond float16"):
        export_model(tmp_path / "large", tmp_path / "out", format="gguf", dtype="float16", console=Console.quiet())


@pytest.mark.slow
def test_the_real_model_goes_out_and_comes_back(smollm2_gguf, tmp_path):
    from transformers import AutoModelForCausalLM

    imported = import_model(smollm2_gguf, tmp_path / "model", console=Console.quiet())
    exported = export_model(imported.path, tmp_path / "gguf", format="gguf", console=Console.quiet())
    assert exported.measures["certificate"]["greatest_logit_error"] == 0
    path = exported.file("model.gguf")
    how = {"gguf_file": path.name, "dtype": torch.float32}
    again = AutoModelForCausalLM.from_pretrained(path.parent, **how).state_dict()
    folder = AutoModelForCausalLM.from_pretrained(imported.path, dtype=torch.float32).state_dict()
    assert all(torch.equal(again[name], folder[name]) for name in folder)
