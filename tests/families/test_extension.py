"""More tokens: new rows are means, old rows and logits stay, and transformers reads the same ids."""

from __future__ import annotations

import pytest
import torch
import transformers

from bedplate.codecs.text import TextTokenizer
from bedplate.data.train_tokenizer import TrainTokenizerConfig, train
from bedplate.errors import InputError
from bedplate.families.extension import ExtensionConfig, extend_vocabulary
from bedplate.families.opening import load_any

TEXTS = ["the enzyme photosynthesis of the leaf is the sum of light and dark steps", "ribosomes read the message"] * 4
NEW = ("photosynthesis", "ribosome", "鋼")
_SMALL = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
CASES = {
    "llama": ("LlamaForCausalLM", {**_SMALL, "tie_word_embeddings": False}, "bpe"),
    "llama tied": ("LlamaForCausalLM", {**_SMALL, "tie_word_embeddings": True}, "unigram"),
    "gpt2": ("GPT2LMHeadModel", {"n_layer": 2, "n_embd": 32, "n_head": 4, "n_positions": 64}, "bpe"),
    "bert": ("BertModel", _SMALL, "wordpiece"),
    "bert, masked": ("BertForMaskedLM", _SMALL, "wordpiece"),
}


def _tokenizer(kind: str) -> TextTokenizer:
    config = TrainTokenizerConfig(kind=kind, vocabulary={"unigram": 420, "wordpiece": 75}.get(kind, 290))
    roles = dict(config.special_tokens.roles)
    return TextTokenizer(train(config, lambda: iter([TEXTS])).to_str(), roles)


def _model(name: str, folder, padding: int):
    torch.manual_seed(0)
    kind, shape, tokens = CASES[name]
    tokenizer = _tokenizer(tokens)
    theirs = getattr(transformers, kind)
    config = theirs.config_class(
        **shape, vocab_size=tokenizer.vocab_size + padding, bos_token_id=0, eos_token_id=0, pad_token_id=1
    )
    theirs(config).save_pretrained(folder)
    tokenizer.save(folder)
    return load_any(folder, device="cpu")


@pytest.mark.parametrize("padding", [0, 2, 11])
@pytest.mark.parametrize("name", CASES)
def test_old_rows_and_logits_stay(name, padding, tmp_path):
    model = _model(name, tmp_path / "old", padding)
    old = {n: p.detach().clone() for n, p in model.net.named_parameters()}
    tokenizer, before = model.tokenizer, model.config.vocab_size
    tokens = torch.tensor([tokenizer.encode("the leaf is dark")])
    states = model.hidden(tokens)
    report = extend_vocabulary(model, NEW)

    assert (report.rows_before, report.rows) == (before, max(before, tokenizer.vocab_size + 3))
    assert model.config.vocab_size == model.net.embed.weight.shape[0] == report.rows
    assert [a.id for a in report.added] == list(range(tokenizer.vocab_size, tokenizer.vocab_size + 3))
    assert "embed.weight" in report.parameters
    for parameter, tensor in model.net.named_parameters():
        if parameter not in report.parameters:
            assert torch.equal(tensor, old[parameter])
            continue
        kept = old[parameter][: tokenizer.vocab_size]
        assert torch.equal(tensor[: len(kept)], kept)
        for added in report.added:
            assert list(added.pieces) == tokenizer.encode(added.token)
            assert torch.allclose(tensor[added.id], kept[list(added.pieces)].mean(0), atol=1e-7)
    assert torch.equal(model.hidden(tokens), states)
    if hasattr(model, "logits"):
        # The products' last bits depend on the shape of the matrix.
        expected = load_any(tmp_path / "old", device="cpu")(tokens)[..., : tokenizer.vocab_size]
        torch.testing.assert_close(model(tokens)[..., : tokenizer.vocab_size], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_transformers_reads_the_same(name, tmp_path):
    model = _model(name, tmp_path / "old", 0)
    report = extend_vocabulary(model, ExtensionConfig(tokens=NEW, multiple=64))
    model.save(tmp_path / "new")
    again = load_any(tmp_path / "new", device="cpu")
    theirs = getattr(transformers, CASES[name][0]).from_pretrained(tmp_path / "new")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "new")
    assert report.rows % 64 == 0
    assert theirs.get_input_embeddings().weight.shape[0] == report.rows
    for text in ("the photosynthesis of 鋼", "ribosomes", "plain text"):
        ids = model.tokenizer.encode(text, specials=True, post_process=True)
        assert ids == again.tokenizer.encode(text, specials=True, post_process=True) == tokenizer(text).input_ids
        tokens = torch.tensor([ids])
        assert torch.equal(again.hidden(tokens), model.hidden(tokens))
        base = getattr(theirs, theirs.base_model_prefix, theirs)
        torch.testing.assert_close(base(tokens)[0], model.hidden(tokens), rtol=1e-4, atol=1e-5)
    found = model.tokenizer.encode("the photosynthesis")
    assert report.added[0].id in found
    assert model.tokenizer.decode(model.tokenizer.encode("the photosynthesis")) == "the photosynthesis"


def test_special_tokens_and_whole_words(tmp_path):
    model = _model("llama", tmp_path, 0)
    extend_vocabulary(model, ExtensionConfig(tokens=("<|turn|>",), special=True))
    extend_vocabulary(model, ExtensionConfig(tokens=("leaf",), whole_words=True))
    turn, leaf = (model.tokenizer.backend.token_to_id(t) for t in ("<|turn|>", "leaf"))
    assert turn not in model.tokenizer.encode("a<|turn|>")
    assert turn in model.tokenizer.encode("a<|turn|>", specials=True)
    assert leaf in model.tokenizer.encode("a leaf!")
    assert leaf not in model.tokenizer.encode("leaflet")


@pytest.mark.parametrize(
    ("tokens", "match"), [(("a",), "in the vocabulary"), (("zq", "zq"), "twice"), ((" ",), "white space")]
)
def test_refused_and_nothing_changed(tokens, match, tmp_path):
    model = _model("llama", tmp_path, 0)
    net, tokenizer = model.net, model.tokenizer
    with pytest.raises(InputError, match=match):
        extend_vocabulary(model, tokens)
    assert model.net is net
    assert model.tokenizer is tokenizer


def test_a_model_without_a_tokenizer_is_refused(tmp_path):
    model = _model("llama", tmp_path, 0)
    model.tokenizer = None
    with pytest.raises(InputError, match="no tokenizer"):
        extend_vocabulary(model, ("x y",))
