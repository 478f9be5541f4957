"""The trained tokenizer: lossless, the same every time, from training documents alone, and readable elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.codecs.text import TextTokenizer
from bedplate.console import Console
from bedplate.data.train_tokenizer import TRAIN_TOKENIZER, TrainTokenizerConfig, train
from bedplate.errors import InputError
from bedplate.ledger import produce


@pytest.fixture(scope="session")
def tokenizer(built) -> TextTokenizer:
    return TextTokenizer.load(built.tokenizer.path)


@settings(deadline=None, max_examples=200)
@given(text=st.text() | st.text(" \t\r\n0123456789'’<|endoftext|>éß日🙂"))
def test_lossless_on_any_text(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids, skip_special=False) == text
    assert not {tokenizer.bos_id, tokenizer.pad_id} & set(ids)


def test_special_tokens(tokenizer):
    assert tokenizer.special_tokens == {"<|endoftext|>": 0, "<|pad|>": 1}
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id, tokenizer.vocab_size) == (0, 0, 1, 300)


@pytest.mark.parametrize("loader", ["AutoTokenizer", "PreTrainedTokenizerFast"])
def test_transformers_gives_the_same_ids(built, tokenizer, loader):
    import transformers

    theirs = getattr(transformers, loader).from_pretrained(built.tokenizer.path)
    for path in sorted(built.raw.glob("*.txt"))[:40]:
        text = path.read_bytes().decode()
        assert theirs(text, add_special_tokens=False).input_ids == tokenizer.encode(text, specials=True)
        assert theirs(text).input_ids == tokenizer.encode(text, specials=True, post_process=True)
        assert theirs(text).input_ids[0] == theirs.bos_token_id == 0
    assert (theirs.eos_token, theirs.pad_token) == ("<|endoftext|>", "<|pad|>")


def test_code_is_split_as_stated(built):
    """Digits in groups of at most three, indentation apart from its word, line ends with the punctuation before."""
    from tokenizers import Regex, pre_tokenizers

    from bedplate.data.train_tokenizer import SPLIT

    split = pre_tokenizers.Split(Regex(SPLIT), behavior="isolated")
    pieces = [piece for piece, _ in split.pre_tokenize_str("if x1:\n        return 1234567 + foo_bar\n\n\n")]
    assert pieces == [
        *("if", " x", "1", ":\n", "       ", " return", " ", "123", "456", "7", " +", " foo", "_bar", "\n\n\n"),
    ]


def test_another_process_trains_the_same_tokenizer(built, tmp_path):
    script = (
        "import sys\nfrom bedplate.console import Console\nfrom bedplate.data.train_tokenizer import *\n"
        "from bedplate.ledger import open_artefact, produce\n"
        "a = produce(TRAIN_TOKENIZER, TrainTokenizerConfig(vocabulary=300), {'corpus': open_artefact(sys.argv[1])},"
        " sys.argv[2], name='tokenizer', console=Console.quiet())\nprint(a.digest)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "123", "RAYON_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, built.corpus.path, tmp_path / "tokenizer"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.stdout.strip() == built.tokenizer.digest, done.stderr


def test_validation_documents_are_not_learnt_from(built):
    rows = pq.read_table(built.corpus.file("part-00000.parquet")).to_pylist()
    train_only = [[row["text"] for row in rows if row["split"] == "train"]]
    ours = json.loads(train(TrainTokenizerConfig(vocabulary=300), lambda: iter(train_only)).to_str())
    assert ours["model"] == json.loads(built.tokenizer.file("tokenizer.json").read_text())["model"]


def test_bytes_per_token_is_measured(built, tokenizer):
    rows = pq.read_table(built.corpus.file("part-00000.parquet")).to_pylist()
    texts = [row["text"] for row in rows if row["split"] == "validation"]
    expected = sum(len(t.encode()) for t in texts) / sum(len(tokenizer.encode(t)) for t in texts)
    assert built.tokenizer.measures["bytes_per_token"]["validation"] == pytest.approx(expected)


def test_a_corpus_too_small_for_the_vocabulary_is_said(built, tmp_path, capsys):
    config = TrainTokenizerConfig(vocabulary=60_000)
    made = produce(TRAIN_TOKENIZER, config, {"corpus": built.corpus}, tmp_path / "t", name="t", console=Console.quiet())
    assert made.measures["vocab_size"] < 60_000
    assert "gives only" in capsys.readouterr().err


def test_no_training_documents_is_an_error(built, tmp_path, stages):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.txt").write_text("x")
    with pytest.raises(InputError, match="train split"):
        stages.curate(tmp_path / "c", sources=[{"folder": str(tmp_path / "raw"), "license": "MIT"}], validation=0.9999)
