"""BERT against transformers: hidden states, gradients and weights, theirs to ours and back; and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BertModel

from bedplate.errors import WeightsError
from bedplate.families.bert_config import BertConfig
from bedplate.families.encoder_model import EncoderModel
from bedplate.nn.parameters import parameter_table

VARIANTS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "one head, one layer": {"num_attention_heads": 1, "num_hidden_layers": 1},
    "heads of one number": {"num_attention_heads": 30},
    "odd heads, narrow feed-forward": {"hidden_size": 35, "num_attention_heads": 5, "intermediate_size": 3},
    "large eps, one type": {"layer_norm_eps": 1e-2, "type_vocab_size": 1},
    "many types, no padding token": {"type_vocab_size": 7, "pad_token_id": None},
    "gelu_new": {"hidden_act": "gelu_new"},
    "gelu_fast": {"hidden_act": "gelu_fast"},
    "gelu_pytorch_tanh": {"hidden_act": "gelu_pytorch_tanh"},
    "relu": {"hidden_act": "relu"},
    "silu": {"hidden_act": "silu"},
}


@pytest.fixture(params=VARIANTS)
def folder(request: pytest.FixtureRequest, bert_folder) -> Path:
    return bert_folder(**VARIANTS[request.param])


def batch(rows: int = 4, length: int = 37) -> tuple[Tensor, Tensor]:
    """tokens without padding's, and validity: rows of many lengths, from the longest to one."""
    tokens = torch.randint(4, 300, (rows, length), generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([length, length - 1, length // 2, 1])[:rows]
    return tokens, torch.arange(length) < lengths[:, None]


def close(found: Tensor, wanted: Tensor) -> None:
    """fp32 through a few layers in another order of sums: within 1e-5 of the largest number."""
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("gradients", [False, True])
def test_hidden_states_equal_transformers_both_ways(folder, tmp_path, gradients):
    theirs = BertModel.from_pretrained(folder).eval()
    ours = EncoderModel.load(folder, device="cpu")
    tokens, valid = batch()
    types = torch.arange(37)[None] % ours.config.type_vocab_size
    with torch.set_grad_enabled(gradients):
        for kind in (None, types.expand_as(tokens)):
            wanted = theirs(tokens, attention_mask=valid.long(), token_type_ids=kind).last_hidden_state
            close(ours.net(tokens, valid=valid, token_types=kind)[valid], wanted[valid])
        ours.save(tmp_path / "ours")
        again = BertModel.from_pretrained(tmp_path / "ours").eval()
        found = again(tokens, attention_mask=valid.long())
        wanted = theirs(tokens, attention_mask=valid.long())
    assert torch.equal(found.last_hidden_state, wanted.last_hidden_state)
    assert torch.equal(found.pooler_output, wanted.pooler_output)


def test_gradients_equal_transformers(folder):
    theirs, ours = BertModel.from_pretrained(folder).eval(), EncoderModel.load(folder, device="cpu")
    tokens, valid = batch()
    direction = torch.randn(4, 37, ours.width, generator=torch.Generator().manual_seed(1)) * valid[..., None]
    (theirs(tokens, attention_mask=valid.long()).last_hidden_state * direction).sum().backward()
    (ours.hidden(tokens, valid) * direction).sum().backward()
    names = dict(ours.net.named_parameters())
    pairs = ours.family.table(ours.config).pairs(names, ours.config.num_hidden_layers)
    for name, parameter in names.items():
        wanted = theirs.get_parameter(pairs[name][0]).grad
        if name.endswith(".k.bias"):  # mathematically zero: both are rounding
            assert parameter.grad.abs().max() < 1e-4
            continue
        error = (parameter.grad - wanted).abs().max() / wanted.abs().max().clamp(min=1e-6)
        assert error <= 2e-5, name  # sums over 4 x 37 positions besides


def test_as_many_numbers_as_transformers(folder):
    ours = EncoderModel.load(folder, device="cpu")
    assert ours.parameter_count() == BertModel.from_pretrained(folder).num_parameters()
    assert parameter_table(ours.net).keys() == dict(ours.net.named_parameters()).keys()


def test_the_file_that_is_written_is_the_file_that_was_read(folder, tmp_path):
    EncoderModel.load(folder, device="cpu").save(tmp_path / "ours")
    before, after = load_file(folder / "model.safetensors"), load_file(tmp_path / "ours" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    read = BertConfig.from_hf(json.loads((tmp_path / "ours" / "config.json").read_text()))
    assert read == EncoderModel.load(folder).config


def test_a_batch_is_its_rows_alone(folder):
    ours = EncoderModel.load(folder, device="cpu")
    tokens, valid = batch()
    together = ours.embed_tokens(tokens, valid)
    for i, length in enumerate(valid.sum(1).tolist()):
        close(together[i], ours.embed_tokens(tokens[i : i + 1, :length])[0])


def test_without_a_pooler(bert_folder, tmp_path):
    folder = bert_folder()
    tensors = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if "pooler" not in k}, folder / "model.safetensors")
    ours = EncoderModel.load(folder, device="cpu")
    assert not ours.carried
    ours.save(tmp_path / "ours")
    assert not any("pooler" in name for name in load_file(tmp_path / "ours" / "model.safetensors"))


@pytest.mark.parametrize("model", ["BertForPreTraining", "BertForMaskedLM"])
def test_a_checkpoint_of_pretraining_has_a_masked_head(bert_folder, tmp_path, model):
    folder = bert_folder(model=model)
    theirs = getattr(transformers, model).from_pretrained(folder).eval()
    names = load_file(folder / "model.safetensors")
    assert all(name.startswith(("bert.", "cls.")) for name in names)
    ours = EncoderModel.load(folder, device="cpu")
    tokens, valid = batch()
    with torch.no_grad():
        found = theirs(tokens, attention_mask=valid.long(), output_hidden_states=True)
        close(ours.hidden(tokens, valid)[valid], found.hidden_states[-1][valid])
        wanted = found.prediction_logits if "PreT" in model else found.logits
        close(ours.predict_masked(tokens, valid)[valid], wanted[valid])
    pairs = [n for n in names if n.startswith("cls.seq_relationship.")]
    assert ours.family.table(ours.config).dropped(names) == sorted(pairs)
    pooler = {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    assert set(ours.carried) == (pooler if "PreT" in model else set())
    ours.save(tmp_path / "ours")
    assert load_file(tmp_path / "ours" / "model.safetensors").keys() == names.keys() - set(pairs)


def test_a_body_that_names_no_head_leaves_pretraining_out(bert_folder):
    folder = bert_folder(model="BertForMaskedLM")
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | {"architectures": ["BertModel"]}))
    names = load_file(folder / "model.safetensors")
    ours = EncoderModel.load(folder, device="cpu")
    assert ours.config.head is None
    assert ours.family.table(ours.config).dropped(names) == sorted(n for n in names if n.startswith("cls."))


def test_the_first_spelling_of_norms_and_buffers(bert_folder):
    folder = bert_folder()
    plain = EncoderModel.load(folder, device="cpu")
    spelt = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
        for name, t in load_file(folder / "model.safetensors").items()
    }
    save_file(spelt | {"bert.embeddings.position_ids": torch.arange(37)[None]}, folder / "model.safetensors")
    older = EncoderModel.load(folder, device="cpu")
    for (name, a), b in zip(plain.net.named_parameters(), older.net.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert older.carried.keys() == plain.carried.keys()


@pytest.mark.parametrize("model", ["BertForQuestionAnswering", "BertForMultipleChoice"])
def test_a_trained_head_is_not_dropped_in_silence(bert_folder, model):
    folder = bert_folder(model=model)
    with pytest.raises(WeightsError, match=r"unknown: (classifier|qa_outputs)\.bias, (classifier|qa_outputs)\.weight"):
        EncoderModel.load(folder)


def test_missing_and_misshapen_tensors_are_named(bert_folder):
    folder = bert_folder()
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.bias"]
    tensors["embeddings.position_embeddings.weight"] = torch.zeros(36, 30)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"missing: encoder\.layer\.1\.output\.dense\.bias; misshapen: .*\[36, 30\]"):
        EncoderModel.load(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key' isn't supported"),
        ({"is_decoder": True}, "is_decoder=True isn't supported"),
        ({"add_cross_attention": True}, "add_cross_attention=True isn't supported"),
        ({"embedding_size": 128}, "embedding_size=128 isn't supported"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads="),
        ({"hidden_act": "laplace"}, "hidden_act: .*'gelu'"),
        ({"rotary_emb_base": 1000}, "unknown keys that may change the mathematics: rotary_emb_base=1000"),
        ({"num_attention_heads": 7}, "no multiple of num_attention_heads 7"),
        ({"pad_token_id": 400}, "pad_token_id 400 is beyond the 311 rows"),
        ({"layer_norm_eps": 0}, "layer_norm_eps"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"vocab_size": 2**62}, "more numbers than can be addressed"),
        ({"hidden_size": None}, "hidden_size: Field required"),
    ],
)
def test_what_would_be_other_mathematics_is_refused(bert_folder, changes, said):
    folder = bert_folder()
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | changes))
    with pytest.raises(WeightsError, match=said):
        EncoderModel.load(folder)
