"""Every kind of tokenizer: the same in every process, the same in `tokenizers` and `transformers`, lossless where it
says so, and with its special tokens out of a text's reach."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tokenizers import Tokenizer

from bedplate.codecs.text import TextTokenizer
from bedplate.console import Console
from bedplate.data.train_tokenizer import TRAIN_TOKENIZER, TrainTokenizerConfig, train
from bedplate.errors import InputError
from bedplate.ledger import produce

TEXTS = [
    "The quick brown fox jumps over the lazy dog, and the dog's bark was worse than its bite.",
    "Der schnelle braune Fuchs springt über den faulen Hund; größer als 1234 Äpfel?",
    "敏捷的棕色狐狸跳过懒狗。 日本語のテキスト",
    "def f(x):\n\treturn  x ** 2  # squares\r\n\n",
    "naïve café 🙂🙂 \u200d e\u0301",
] * 3
SMILES = ["CC(=O)Oc1ccccc1C(=O)O", "C[C@@H](N)C(=O)[O-].[Na+]", "BrCCCl", "C%12CCCCC%12", "O=C=O>>[C-]#[O+]"]
KINDS = {
    "bpe": {"vocabulary": 400},
    "bpe, gaps": {"vocabulary": 400, "specials": "fill-in-the-middle"},
    "wordpiece": {"kind": "wordpiece", "vocabulary": 300},
    "wordpiece, lower case": {"kind": "wordpiece", "vocabulary": 300, "lowercase": True, "coverage": 0.98},
    "unigram": {"kind": "unigram", "vocabulary": 700},
    "unigram, few characters": {"kind": "unigram", "vocabulary": 600, "specials": "document", "coverage": 0.9},
    "bytes": {"kind": "bytes"},
    "bytes, causal": {"kind": "bytes", "specials": "document"},
    "characters": {"kind": "characters"},
    "characters, few": {"kind": "characters", "vocabulary": 30, "specials": "bert"},
    "amino acids": {"kind": "characters", "alphabet": "amino-acids"},
    "nucleotides": {"kind": "characters", "alphabet": "nucleotides", "specials": "document"},
    "smiles": {"kind": "characters", "alphabet": "smiles"},
}
LOSSLESS = ("bpe", "bpe, gaps", "unigram", "unigram, few characters", "bytes", "bytes, causal")


def made(name: str, texts: list[str] = TEXTS) -> TextTokenizer:
    config = TrainTokenizerConfig(**KINDS[name])
    texts = SMILES if config.alphabet == "smiles" else texts
    backend = train(config, lambda: iter([texts[:4], texts[4:]]))
    return TextTokenizer(backend.to_str(), config.special_tokens.roles)


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, TextTokenizer]:
    return {name: made(name) for name in KINDS}


@pytest.mark.parametrize("name", KINDS)
def test_saved_and_reloaded_identically(tokenizers, name, tmp_path):
    import transformers

    ours = tokenizers[name]
    ours.save(tmp_path)
    again = TextTokenizer.load(tmp_path)
    backend = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert again.fingerprint == ours.fingerprint
    for text in [*TEXTS, *SMILES, "MKTAYIAKQR", "acgtNN-\nACGU", ""]:
        ids = ours.encode(text, specials=True, post_process=True)
        assert ids == again.encode(text, specials=True, post_process=True) == backend.encode(text).ids
        assert ids == theirs(text).input_ids
        assert ours.decode(ids) == again.decode(ids) == backend.decode(ids) == theirs.decode(ids, True)
    roles = ("pad", "unk", "mask", "cls", "sep", "bos", "eos")
    for role in roles:
        assert getattr(ours, f"{role}_id") == getattr(theirs, f"{role}_token_id")


@pytest.mark.parametrize("name", KINDS)
def test_sizes_and_special_tokens(tokenizers, name):
    ours, config = tokenizers[name], TrainTokenizerConfig(**KINDS[name])
    specials = config.special_tokens
    assert ours.vocab_size <= config.vocabulary
    assert [ours.backend.token_to_id(t) for t in specials.first] == list(range(len(specials.first)))
    behind = range(ours.vocab_size - len(specials.last), ours.vocab_size)
    assert [ours.backend.token_to_id(t) for t in specials.last] == list(behind)
    assert set(ours.special_tokens) == {*specials.first, *specials.last}
    assert all(ours.backend.id_to_token(i) is not None for i in range(ours.vocab_size))  # no holes
    spoken = {i for i in ours.special_tokens.values() if i != ours.unk_id}
    for token in ours.special_tokens:
        for text in (token, f"a {token}b", token * 2):
            assert not spoken & set(ours.encode(text)), f"{token} can be smuggled in"
            assert ours.special_tokens[token] in ours.encode(text, specials=True)


SCRIPT = """
import hashlib, json, sys
sys.path.insert(0, sys.argv[1])
from test_train_tokenizer_kinds import KINDS, made
from bedplate.codecs.text import TextTokenizer
print(json.dumps({name: made(name).fingerprint for name in KINDS}))
"""


def test_another_process_trains_the_same(tokenizers):
    environment = {**os.environ, "PYTHONHASHSEED": "7", "RAYON_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, os.path.dirname(__file__)], capture_output=True, text=True, env=environment
    )
    assert json.loads(done.stdout or "null") == {n: t.fingerprint for n, t in tokenizers.items()}, done.stderr


@settings(deadline=None, max_examples=300)
@given(text=st.text() | st.text(" \t\r\n<|>/s0xA123’éßñ日本🙂[CLS]#"))
def test_lossless_kinds_are(tokenizers, text):
    for name in LOSSLESS:
        ours = tokenizers[name]
        ids = ours.encode(text)
        expected = text.replace("▁", " ") if name.startswith("unigram") else text
        assert ours.decode(ids, skip_special=False) == expected, name
        assert ours.unk_id not in ids or ours.unk_id is None, name


@settings(deadline=None, max_examples=200)
@given(text=st.text(sorted({c for t in TEXTS for c in t})) | st.text())
def test_characters_are_kept_or_unknown(tokenizers, text):
    ours = tokenizers["characters"]
    seen = {c for t in TEXTS for c in t}
    ids = ours.encode(text)
    assert len(ids) == len(text)
    assert [i != ours.unk_id for i in ids] == [c in seen for c in text]
    assert ours.decode(ids) == "".join(c for c in text if c in seen)


def test_proteins_are_esm_2s(tokenizers, tmp_path):
    """transformers' own EsmTokenizer over the published vocabulary, which is in our order."""
    from transformers import EsmTokenizer

    ours = tokenizers["amino acids"]
    spelt = [ours.backend.id_to_token(i) for i in range(ours.vocab_size)]
    assert len(spelt) == 33
    assert spelt[:6] == ["<cls>", "<pad>", "<eos>", "<unk>", "L", "A"]
    assert spelt[-3:] == ["-", "<null_1>", "<mask>"]
    (tmp_path / "vocab.txt").write_text("\n".join(spelt))
    theirs = EsmTokenizer(str(tmp_path / "vocab.txt"))
    for text in ("MKTAYIAKQRQISFVKSHFSRQ", "XBUZO.-", "M<mask>TA", "MK TA"):
        assert ours.encode(text, specials=True, post_process=True) == theirs(text).input_ids
    assert ours.encode("MKT AY\nIAK") == ours.encode("mktayiak") == ours.encode("MKTAYIAK")


def test_bytes_are_byt5s(tokenizers):
    from transformers import ByT5Tokenizer

    ours, theirs = tokenizers["bytes"], ByT5Tokenizer()
    for text in [*TEXTS, "a<extra_id_0>b<extra_id_124>"]:
        assert ours.encode(text, specials=True, post_process=True) == theirs(text).input_ids
    assert ours.vocab_size == 384
    assert ours.sentinel_ids == tuple(theirs.convert_tokens_to_ids([f"<extra_id_{i}>" for i in range(125)]))


def test_t5s_sentinels_count_backwards(tokenizers):
    ours = tokenizers["unigram"]
    assert ours.sentinel_ids == tuple(range(ours.vocab_size - 1, ours.vocab_size - 101, -1))
    assert tokenizers["bpe"].sentinel_ids == ()


def test_smiles_atoms(tokenizers):
    ours = tokenizers["smiles"]
    pieces = [ours.backend.id_to_token(i) for i in ours.encode("C[C@@H](N)C(=O)[O-].[Na+]")]
    assert pieces == ["C", "[C@@H]", "(", "N", ")", "C", "(", "=", "O", ")", "[O-]", ".", "[Na+]"]
    for text in SMILES:
        assert ours.decode(ours.encode(text)) == text
    assert ours.encode("C[Xe]C!")[1::2] == [ours.unk_id] * 2


def test_pairs_are_as_berts(tokenizers):
    ours = tokenizers["wordpiece"]
    both = ours.backend.encode("the dog", "the fox")
    assert [i for i in both.ids if i == ours.sep_id] == [ours.sep_id] * 2
    assert both.ids[0] == ours.cls_id
    assert both.type_ids == sorted(both.type_ids)
    assert both.type_ids[-1] == 1


@pytest.mark.parametrize("name", ["bpe", "wordpiece", "unigram", "characters", "bytes"])
def test_word_starts(tokenizers, name):
    """Pieces from one start to the next spell the words; characters are each a word."""
    ours = tokenizers[name]
    ids = ours.encode("The quick brown fox\nvorspringt über")
    starts = ours.word_starts(np.array([ids, ids]))
    assert starts.shape == (2, len(ids))
    assert (starts[0] == starts[1]).all()
    if name == "characters":
        assert starts.all()
        return
    cuts = np.flatnonzero(starts[0]).tolist()
    words = [ours.decode(ids[a:b]).strip() for a, b in zip(cuts, [*cuts[1:], len(ids)], strict=True)]
    assert [w for w in words if w] == ["The", "quick", "brown", "fox", "vorspringt", "über"]


def test_special_and_padded_ids_are_words_of_their_own(tokenizers):
    ours = tokenizers["wordpiece"]
    inner = ours.backend.token_to_id("##t")
    starts = ours.word_starts([ours.cls_id, inner, inner, ours.mask_id, inner, ours.vocab_size + 5])
    assert starts.tolist() == [True, True, False, True, True, True]


@pytest.mark.parametrize("name", ["unigram", "wordpiece", "characters", "bytes"])
def test_the_stage_measures_what_is_lost(built, tmp_path, name):
    config = TrainTokenizerConfig(**KINDS[name])
    made = produce(TRAIN_TOKENIZER, config, {"corpus": built.corpus}, tmp_path / "t", name="t", console=Console.quiet())
    lost = made.measures["changed"]["train"]
    assert (lost > 0) == (name == "wordpiece")
    assert made.measures["unknown"]["train"] == 0
    assert TextTokenizer.load(made.path).fingerprint == made.measures["fingerprint"]


def test_more_characters_than_tokens_is_said(built, tmp_path):
    config = TrainTokenizerConfig(kind="wordpiece", vocabulary=20, coverage=1.0)
    with pytest.raises(InputError, match="characters, where 15 tokens"):
        produce(TRAIN_TOKENIZER, config, {"corpus": built.corpus}, tmp_path / "t", name="t", console=Console.quiet())


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"vocabulary": 257}, "at least 258"),
        ({"kind": "bytes", "vocabulary": 300}, "at least 384"),
        ({"kind": "unigram", "alphabet": "smiles"}, "is for kind characters"),
        ({"lowercase": True}, "is for kind wordpiece"),
        ({"kind": "characters", "alphabet": "smiles", "specials": "bert"}, "as an atom"),
    ],
)
def test_what_does_not_fit_is_refused(given, match):
    with pytest.raises(ValidationError, match=match):
        TrainTokenizerConfig(**given)
