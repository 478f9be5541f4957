"""Imports of Hugging Face folders and GGUF files: the weights arrive as they were, and damage is named."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch

from bedplate.console import Console
from bedplate.errors import InputError, TokenizerError, UserError, WeightsError
from bedplate.families.imports import card_license, import_model
from bedplate.families.model import Model
from bedplate.ledger import open_artefact

TOKENS = torch.randint(0, 400, (2, 40), generator=torch.Generator().manual_seed(0))


def logits(folder: Path) -> torch.Tensor:
    """What transformers says, in fp32."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return model(TOKENS).logits


def test_a_folder_arrives_with_equal_logits_and_a_certificate(hf_folder, tmp_path):
    folder = hf_folder("qwen3")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    artefact = import_model(folder, tmp_path / "out", console=Console.quiet())
    assert artefact.kind == "model"
    assert torch.equal(logits(folder), logits(artefact.path))
    assert artefact.measures["license"] == "apache-2.0"
    assert artefact.measures["certificate"]["greatest_logit_error"] == 0
    assert artefact.measures["parameters"] == Model.load(folder).parameter_count()
    assert artefact.manifest.inputs[0].kind == "raw"
    assert (artefact.path / "generation_config.json").is_file()
    open_artefact(artefact.path, "model").verify()


def test_a_second_import_is_reused_until_the_source_or_the_type_changes(hf_folder, tmp_path):
    folder = hf_folder()
    out = tmp_path / "out"
    first = import_model(folder, out, console=Console.quiet())
    moved = folder.rename(tmp_path / "moved")
    again = import_model(moved, out, console=Console.quiet())
    assert again.cached
    assert again.key == first.key
    with pytest.raises(UserError, match="made differently"):
        import_model(moved, out, dtype="bfloat16", console=Console.quiet())
    half = import_model(moved, out, dtype="bfloat16", console=Console.quiet(), replace=True)
    assert Model.load(half.path).dtype == torch.bfloat16
    assert 0 < half.measures["certificate"]["mean_kl"] < 1e-3


def test_half_precision_stays_as_it_is_stored(hf_folder, tmp_path):
    folder = hf_folder(dtype=torch.bfloat16)
    artefact = import_model(folder, tmp_path / "out", console=Console.quiet())
    assert artefact.measures["certificate"]["stored"] == "bfloat16"
    assert artefact.measures["certificate"]["greatest_logit_error"] == 0


def cut(path: Path, by: int) -> None:
    path.write_bytes(path.read_bytes()[:-by])


def rewrite(folder: Path, change) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def header_of(length: int) -> bytes:
    return struct.pack("<Q", length) + b"{}"


def shard(folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="40KB")
    sorted(folder.glob("model-*.safetensors"))[-1].unlink()


def older(folder):
    """GPT-2's two files in the place of tokenizer.json."""
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    (folder / "merges.txt").write_text("".join(" ".join(pair) + "\n" for pair in model["merges"]))
    (folder / "tokenizer.json").unlink()


def older_of_unknown_class(folder):
    older(folder)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "OddTokenizerFast"}')


Q0 = "model.layers.0.self_attn.q_proj.weight"
DAMAGE = {
    "truncated": (
        lambda f: cut(f / "model.safetensors", 100),
        InputError,
        "model.safetensors: .* bytes where its header",
    ),
    "cut in the header": (lambda f: (f / "model.safetensors").write_bytes(header_of(10**15)), InputError, "truncated"),
    "empty": (lambda f: (f / "model.safetensors").write_bytes(b""), InputError, "too short"),
    "a missing shard": (shard, InputError, r"model-.*safetensors: missing"),
    "a missing tensor": (lambda f: rewrite(f, lambda t: t.pop(Q0)), WeightsError, f"missing: {Q0}"),
    "an extra tensor": (lambda f: rewrite(f, lambda t: t.update(odd=torch.ones(2))), WeightsError, "unknown: odd"),
    "a misshapen tensor": (lambda f: rewrite(f, lambda t: t.update({Q0: torch.ones(3, 3)})), WeightsError, Q0),
    "only pickles": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        WeightsError,
        "only pickled weights",
    ),
    "no config": (lambda f: (f / "config.json").unlink(), InputError, "no config.json"),
    "a broken config": (lambda f: (f / "config.json").write_text("{"), InputError, "config.json"),
    "a broken SentencePiece file": (
        lambda f: (f / "tokenizer.json").rename(f / "tokenizer.model"),
        TokenizerError,
        "tokenizer.model: not a SentencePiece model",
    ),
    "a class of tokenizer that isn't known": (older_of_unknown_class, TokenizerError, "rules of OddTokenizer"),
    "a broken tokenizer": (lambda f: (f / "tokenizer.json").write_text("{}"), TokenizerError, "tokenizer.json"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_and_leaves_nothing(hf_folder, tmp_path, name):
    damage, error, message = DAMAGE[name]
    folder = hf_folder()
    damage(folder)
    with pytest.raises(error, match=message) as caught:
        import_model(folder, tmp_path / "out", console=Console.quiet())
    assert str(folder) in caught.value.problem
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_more_tokens_than_embeddings_are_refused(hf_folder, tmp_path):
    folder = hf_folder(vocab_size=390)
    with pytest.raises(TokenizerError, match="400 tokens and the model 390 rows"):
        import_model(folder, tmp_path / "out", console=Console.quiet())


def test_a_tokenizer_in_older_files_is_read_and_written_as_one(tmp_path, byte_level_json):
    """Of GPT-2's family, whose vocab.json and merges.txt say everything but the rules."""
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path / "gpt2"
    keys = {"n_embd": 48, "n_layer": 1, "n_head": 4, "vocab_size": 400, "bos_token_id": 0, "eos_token_id": 0}
    GPT2LMHeadModel(GPT2Config(**keys)).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(byte_level_json)
    older(folder)
    artefact = import_model(folder, tmp_path / "out", console=Console.quiet())
    assert artefact.measures["notes"] == []
    read, written = Model.load(folder).tokenizer, Model.load(artefact.path).tokenizer
    assert (artefact.path / "tokenizer.json").is_file()
    assert read is not None
    assert written is not None
    assert read.encode("Ein kleiner Test: 1969.") == written.encode("Ein kleiner Test: 1969.")
    (folder / "vocab.json").write_text((folder / "vocab.json").read_text() + " ")
    with pytest.raises(UserError, match="made differently"):  # what is read counts
        import_model(folder, tmp_path / "out", console=Console.quiet())


def test_no_tokenizer_at_all_is_noted(hf_folder, tmp_path):
    artefact = import_model(hf_folder(tokenizer=False), tmp_path / "out", console=Console.quiet())
    assert artefact.measures["notes"] == ["the source holds no tokenizer"]


@pytest.mark.parametrize(
    ("source", "message"),
    [("no/such/thing", "no such file or folder"), ("nothing", "no such file or folder"), ("text.gguf", "not a GGUF")],
)
def test_what_is_no_model_is_refused(tmp_path, source, message):
    (tmp_path / "text.gguf").write_text("hello, this is no model")
    path = tmp_path / source if source == "text.gguf" else source
    with pytest.raises(InputError, match=message):
        import_model(path, tmp_path / "out", console=Console.quiet())


def test_a_revision_of_a_local_folder_is_a_mistake(hf_folder, tmp_path):
    with pytest.raises(InputError, match="isn't on the hub"):
        import_model(hf_folder(), tmp_path / "out", revision="main", console=Console.quiet())


def test_a_mistyped_path_is_no_question_to_the_hub(tmp_path, monkeypatch):
    (tmp_path / "runs" / "quickstart").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"runs/quikstart: no such file or folder; nearest: runs/quickstart\n.*hub:"):
        import_model("runs/quikstart", tmp_path / "out", console=Console.quiet())


@pytest.mark.parametrize("source", ["hub:", "hub:name", "hub:a/b/c", "hub:/etc/passwd", "hub:../x"])
def test_a_hub_name_that_is_none_is_refused(tmp_path, source):
    with pytest.raises(InputError, match=r"no model on the hub is called so"):
        import_model(source, tmp_path / "out", console=Console.quiet())


def test_what_means_the_hub(tmp_path, monkeypatch):
    from bedplate.families.hub import hub_id

    monkeypatch.chdir(tmp_path)
    (tmp_path / "here" / "model").mkdir(parents=True)
    assert hub_id("hub:here/model") == "here/model"
    assert hub_id("here/model", "main", plain=True) is None
    assert hub_id("here/other", plain=True) is None
    assert hub_id("here/other", "main") == "here/other"
    assert hub_id("org/name") is None
    assert hub_id("org/name", plain=True) == hub_id("org/name", "main") == "org/name"


def test_a_branch_in_a_recipe_must_be_pinned(tmp_path):
    from bedplate.families.imports import ImportConfig, locate

    with pytest.raises(InputError, match="may mean something else tomorrow"):
        locate(ImportConfig(source="organisation/model", revision="main"))


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nlicense: mit\ntags: [a]\n---\ntext", "mit"),
        ("# no header", None),
        ("---\nlicense: [a, b]\n---", None),
        ("---\n: : :\n---", None),
        ("---\nunfinished", None),
    ],
)
def test_licences_come_from_the_card(tmp_path, card, expected):
    (tmp_path / "README.md").write_text(card)
    assert card_license(tmp_path) == expected


@pytest.mark.slow
def test_the_real_gguf_becomes_a_folder_that_transformers_reads_alike(smollm2_gguf, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    artefact = import_model(smollm2_gguf, tmp_path / "out", console=Console.quiet())
    assert artefact.measures["quantisation"] == "Q4_1"
    assert artefact.measures["license"] == "apache-2.0"
    assert artefact.measures["certificate"]["greatest_logit_error"] == 0
    config = json.loads((artefact.path / "config.json").read_text())
    assert (config["num_hidden_layers"], config["rms_norm_eps"], config["tie_word_embeddings"]) == (30, 1e-5, True)
    ours = AutoModelForCausalLM.from_pretrained(artefact.path, dtype=torch.float32).state_dict()
    theirs = AutoModelForCausalLM.from_pretrained(
        smollm2_gguf.parent, gguf_file=smollm2_gguf.name, dtype=torch.float32
    ).state_dict()
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    tokenizer = AutoTokenizer.from_pretrained(artefact.path)
    assert tokenizer.decode(tokenizer.encode("Ein kleiner Test: 1969.")) == "Ein kleiner Test: 1969."


def test_an_encoder_says_its_head_and_that_it_has_no_tokenizer(tmp_path):
    from transformers import BertConfig, BertForMaskedLM

    keys = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    BertForMaskedLM(BertConfig(**keys, vocab_size=400)).save_pretrained(tmp_path / "bert")
    artefact = import_model(tmp_path / "bert", tmp_path / "out", console=Console.quiet())
    assert artefact.measures["head"] == "masked"
    assert "the source holds no tokenizer" in artefact.measures["notes"]
