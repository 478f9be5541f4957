"""The step that sets the columns, its configuration, and perplexity under a model."""

import math
import subprocess
import sys

import pytest
import torch
from pydantic import ValidationError
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from bedplate.codecs.text import TextTokenizer
from bedplate.data.documents import Document
from bedplate.data.signals.columns import ALL_COLUMNS, FAMILIES
from bedplate.data.signals.config import LanguageConfig, PerplexityConfig, SignalsConfig, with_columns
from bedplate.data.signals.step import step
from bedplate.errors import UserError


def test_a_step_sets_the_columns_that_it_says():
    documents = [Document("a", "One two three."), Document("b", ""), Document("c", None)]
    made = step(SignalsConfig(families=FAMILIES))
    made(documents)
    assert list(documents[0].columns) == list(made.columns)
    assert documents[0].columns["words"] == 3
    assert documents[0].columns["language_detected"] == "en"
    assert documents[1].columns["words"] == 0
    assert documents[2].columns == {}
    assert all(document.alive for document in documents)


def test_what_is_turned_off_isnt_there():
    made = step(SignalsConfig(families=("c4",), language=None))
    assert set(made.columns) < set(ALL_COLUMNS)
    assert not {"language_score", "words"} & set(made.columns)


def test_needed_columns_turn_their_families_on():
    assert with_columns(None, []) is None
    assert with_columns(None, ["toxicity"]) is None
    made = with_columns(None, ["newline_ratio", "duplicate_line_character_fraction"])
    assert (made.families, made.language) == (("fineweb",), None)
    made = with_columns(None, ["language_detected", "mentions_age"])
    assert (made.families, made.language) == (("mentions",), LanguageConfig())
    given = SignalsConfig(families=("c4",), language=LanguageConfig(detector="resiliparse"))
    assert with_columns(given, ["words", "language_score"]).families == ("quality", "c4")
    assert with_columns(given, ["c4_sentences"]) is given
    with pytest.raises(UserError, match=r"signals.perplexity.model"):
        with_columns(given, ["perplexity_bits_per_byte"])


def test_an_unknown_family_is_refused():
    with pytest.raises(ValidationError, match="families"):
        SignalsConfig(families=("gopher",))


END = "<|endoftext|>"


@pytest.fixture(scope="module", params=[{"bos_token": END}, {}], ids=["bos", "no bos"])
def scorer(request, tmp_path_factory):
    """A folder with a small model of bytes as transformers writes it, the model, and whether it has BOS."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(**shape, vocab_size=257, max_position_embeddings=128, initializer_range=0.3)
    config.bos_token_id = None  # it is the tokenizer that says
    model = LlamaForCausalLM(config).eval()
    folder = tmp_path_factory.mktemp("scorer")
    model.save_pretrained(folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([END])
    tokenizer = TextTokenizer(backend.to_str(), request.param)
    tokenizer.save(folder)
    return folder, model, tokenizer


@pytest.mark.parametrize("text", ["Some plain text.", "naïve 日本 🙂", "x" * 500, "a\ud800b"])
def test_perplexity_is_that_of_the_logits_of_transformers(scorer, text):
    folder, model, tokenizer = scorer
    made = step(SignalsConfig(families=(), language=None, perplexity=PerplexityConfig(model=str(folder), tokens=100)))
    document = Document("a", text)
    made([document])
    ids = tokenizer.encode(text.encode("utf-8", "replace").decode())[:100]
    inputs, targets = ([tokenizer.bos_id, *ids[:-1]], ids) if tokenizer.bos_id is not None else (ids[:-1], ids[1:])
    with torch.inference_mode():
        logits = model(torch.tensor([inputs])).logits[0].double()
    nats = torch.nn.functional.cross_entropy(logits, torch.tensor(targets), reduction="sum").item()
    bits = nats / math.log(2) / len(targets)  # one byte a token
    assert document.columns["perplexity_bits_per_byte"] == pytest.approx(bits, rel=1e-4)


def test_a_text_without_anything_to_predict_has_no_perplexity(scorer):
    made = step(SignalsConfig(families=(), language=None, perplexity=PerplexityConfig(model=str(scorer[0]))))
    document = Document("a", "")
    made([document])
    assert document.columns == {"perplexity_bits_per_byte": None}


def test_a_missing_model_is_refused_when_the_step_is_made(tmp_path):
    missing = PerplexityConfig(model=str(tmp_path / "none"))
    with pytest.raises(UserError, match="none"):
        step(SignalsConfig(families=(), language=None, perplexity=missing))


def test_nothing_heavy_is_imported_without_need():
    code = (
        "import sys, bedplate.data.signals.config, bedplate.data.filters.config, bedplate.data.filters.rules\n"
        "assert not {'numpy', 'torch', 'pyarrow'} & sys.modules.keys(), sys.modules.keys()\n"
        "from bedplate.data.signals.step import step\n"
        "from bedplate.data.documents import Document\n"
        "step(bedplate.data.signals.config.SignalsConfig())([Document('a', 'Some text.')])\n"
        "assert not {'torch', 'robust_downloader', 'transformers'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
