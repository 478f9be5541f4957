"""The tokens artefact: what the stage writes is the documents, resumes after a kill, and damage is named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from bedplate.codecs.text import TextTokenizer
from bedplate.data.packing import PackedRows
from bedplate.data.tokens import TokenSet
from bedplate.errors import ArtefactError, InputError, TokenizerError


def corpus_texts(built, split):
    table = pq.read_table(built.corpus.file("part-00000.parquet"))
    rows = table.to_pylist()
    return [(row["id"], row["text"]) for row in rows if row["split"] == split]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_tokens_decode_to_the_documents(built, split):
    tokens = TokenSet.open(built.tokens)
    tokenizer = tokens.tokenizer()
    texts = corpus_texts(built, split)
    assert tokens.ids(split) == [name for name, _ in texts]
    for index, (_, text) in enumerate(texts):
        ids = tokens.document(split, index)
        assert ids.dtype == np.uint16
        assert tokenizer.decode(ids.tolist(), skip_special=False) == text
        assert tokens.boundary_id not in ids
        assert tokens.bytes(split)[index] == len(text.encode())
    tokens.verify()


def test_measures_are_the_sums(built):
    tokens = TokenSet.open(built.tokens.path)
    measures = built.tokens.measures
    for split in ("train", "validation"):
        assert measures["documents"][split] == len(tokens.documents(split)) == built.corpus.measures["documents"][split]
        assert measures["tokens"][split] == tokens.documents(split).length.sum()
        assert measures["bytes"][split] == tokens.bytes(split).sum() == built.corpus.measures["bytes"][split]
    assert len(list(built.tokens.path.glob("train-*.npy"))) > 1  # the fixture's shards are small
    assert not list(built.tokens.path.glob("table-*"))
    assert (measures["vocab_size"], measures["unknown"]) == (300, {"train": 0, "validation": 0})


def test_chunking_changes_nothing(built, stages, tmp_path):
    again = stages.tokenize(built.corpus, built.tokenizer, tmp_path / "t", shard_tokens=1500, chunk_bytes=100)
    assert (again.key, again.digest) == (built.tokens.key, built.tokens.digest)


def test_a_killed_run_goes_on_after_its_last_whole_shard(built, stages, tmp_path):
    """kill -9 in the middle of a slow run; the next one ends as an undisturbed one, without redoing its shards."""
    out = tmp_path / "tokens"
    script = (
        "import sys, time\n"
        "from bedplate.console import Console\n"
        "from bedplate.data import tokenize as t\n"
        "from bedplate.ledger import open_artefact, produce\n"
        "commit = t.ShardWriter.close\n"
        "def slow(self):\n    commit(self)\n    time.sleep(0.3)\n"
        "t.ShardWriter.close = slow\n"
        "inputs = {'corpus': open_artefact(sys.argv[1]), 'tokenizer': open_artefact(sys.argv[2])}\n"
        "c = t.TokenizeConfig(shard_tokens=1500, chunk_bytes=1000)\n"
        "produce(t.TOKENIZE, c, inputs, sys.argv[3], name='tokens', console=Console.quiet())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, built.corpus.path, built.tokenizer.path, out])
    deadline = time.monotonic() + 60
    while not (done := list(tmp_path.glob("*.partial-*/table-train-00001.parquet"))) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert done
    assert not out.exists()
    first = done[0].with_name("train-00000.npy")
    written = first.stat().st_mtime_ns
    tokens = stages.tokenize(built.corpus, built.tokenizer, out, shard_tokens=1500)
    assert tokens.digest == built.tokens.digest
    assert (out / "train-00000.npy").stat().st_mtime_ns == written


@pytest.fixture
def copy(built, tmp_path):
    shutil.copytree(built.tokens.path, tmp_path / "copy")
    return tmp_path / "copy"


def truncate(path):
    path.write_bytes(path.read_bytes()[:-10])


def swap_tokenizer(folder):
    path = folder / "tokenizer" / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["merges"].pop()
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "error", "names"),
    [
        (lambda f: truncate(f / "train-00000.npy"), ArtefactError, "train-00000.npy"),
        (lambda f: (f / "train-00001.npy").write_bytes(b"\x93NUM"), ArtefactError, "train-00001.npy"),
        (lambda f: (f / "train-00001.npy").unlink(), ArtefactError, "train-00001.npy"),
        (lambda f: np.save(f / "train-00000.npy", np.zeros(3, np.uint16)), ArtefactError, "train-00000.npy"),
        (lambda f: np.save(f / "train-00000.npy", np.zeros(9999)), ArtefactError, "train-00000.npy"),
        (lambda f: truncate(f / "documents.parquet"), ArtefactError, "documents.parquet"),
        (lambda f: (f / "documents.parquet").unlink(), ArtefactError, "documents.parquet"),
        (lambda f: (f / "tokenizer" / "tokenizer.json").unlink(), TokenizerError, "tokenizer.json"),
        (swap_tokenizer, TokenizerError, "tokenizer.json"),
    ],
)
def test_damage_is_named(copy, damage, error, names):
    damage(copy)
    with pytest.raises(error) as raised:
        TokenSet.open(copy)
    assert names in raised.value.problem
    assert raised.value.fix


def test_a_token_beyond_the_vocabulary_is_named_when_read(copy):
    path = copy / "train-00000.npy"
    shard = np.load(path)
    shard[7] = 300
    np.save(path, shard)
    tokens = TokenSet.open(copy)
    for read in (tokens.verify, lambda: PackedRows(tokens, "train", 1000, 0).rows(0, 40)):
        with pytest.raises(ArtefactError, match=r"train-00000.npy: token 300 in a vocabulary of 300"):
            read()


def test_a_tokenizer_without_eos_is_refused(built, stages, tmp_path):
    shutil.copytree(built.tokenizer.path, tmp_path / "tokenizer")
    (tmp_path / "tokenizer" / "tokenizer_config.json").write_text("{}")
    from bedplate.ledger import open_artefact

    with pytest.raises(TokenizerError, match="no eos_token"):
        stages.tokenize(built.corpus, open_artefact(tmp_path / "tokenizer"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_documents_in_a_split_is_said(built, stages, tmp_path):
    shutil.copytree(built.tokens.path, tmp_path / "tokens")  # curate makes no such thing, but others may
    table = pq.read_table(tmp_path / "tokens" / "documents.parquet")
    pq.write_table(table.filter(pc.equal(table["split"], "train")), tmp_path / "tokens" / "documents.parquet")
    with pytest.raises(InputError, match="no documents in the validation split"):
        PackedRows(TokenSet.open(tmp_path / "tokens"), "validation", 8, 0)


def test_the_tokenizer_beside_the_tokens_is_the_one_given(built):
    assert TokenSet.open(built.tokens).fingerprint == TextTokenizer.load(built.tokenizer.path).fingerprint
