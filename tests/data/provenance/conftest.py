"""A small crawl curated, tokenized and trained on: made once, and copied where a test changes it."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from bedplate.console import Console
from bedplate.data.curate import CURATE, CurateConfig
from bedplate.data.tokenize import TOKENIZE, TokenizeConfig
from bedplate.data.train_tokenizer import TRAIN_TOKENIZER, TrainTokenizerConfig
from bedplate.ledger import Artefact, open_artefact, produce

WORDS = (
    *("the", "gear", "and", "shaft", "of", "a", "plate", "have", "oil", "that", "turns", "with", "it", "to", "hold"),
    *("cool", "be", "lifted", "slow", "fast"),
)
MODEL = {
    "architecture": {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 1, "tie_word_embeddings": True,
    },
    "steps": 30, "batch": 3, "length": 24, "dtype": "float32", "threads": 1, "compile": "no",
    "validation_tokens": 200, "device": "cpu",
}  # fmt: skip


def sentence(number: int, size: int) -> str:
    """Words in an order of its own."""
    return " ".join(random.Random(number).choices(WORDS, k=size)) + f" {number}."


def write_crawl(path: Path) -> None:
    """60 documents of three hosts and two owners, an exact copy, one that is too short and one with an empty text."""
    rows = []
    for number in range(60):
        host = ("a.org", "b.org", "c.org")[number % 3]
        rows.append(
            {
                "text": sentence(number, 20 + 7 * (number % 11)),
                "url": f"https://{host}/{number}",
                "title": f"Title {number}",
                "date": "2024-05-01T12:00:00Z",
            }
        )
    rows.append({"text": sentence(3, 20 + 21), "url": "https://mirror.org/3", "title": "A mirror"})
    rows.append({"text": "far too short", "url": "https://short.org/x", "title": "Short"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@dataclass(frozen=True)
class World:
    root: Path

    def artefact(self, name: str) -> Artefact:
        return open_artefact(self.root / name)

    @property
    def corpus(self) -> Artefact:
        return self.artefact("corpus")

    def tokenize(self, corpus: Artefact, name: str, **config: int) -> Artefact:
        inputs = {"corpus": corpus, "tokenizer": self.artefact("tokenizer")}
        options = TokenizeConfig(**{"shard_tokens": 700, **config})
        return produce(TOKENIZE, options, inputs, self.root / name, name=name, console=Console.quiet())


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> World:
    from bedplate.train.config import PretrainConfig
    from bedplate.train.stage import PRETRAIN

    root = tmp_path_factory.mktemp("world") / "runs"
    root.mkdir()
    world = World(root)
    quiet = Console.quiet()
    write_crawl(root / "crawl.jsonl")
    (root / "more.jsonl").write_text("".join(json.dumps({"text": sentence(n, 40)}) + "\n" for n in range(100, 110)))
    fields = {"url_field": "url", "title_field": "title", "date_field": "date"}
    config = CurateConfig(
        sources=[
            {"jsonl": str(root / "crawl.jsonl"), "license": "CC-BY-4.0", **fields},
            {"jsonl": str(root / "more.jsonl"), "license": "CC0-1.0"},
        ],
        signals={},
        filters={"rules": [{"column": "words", "min": 10, "reason": "few_words"}]},
        mix={"temperature": 3},
        validation=0.15,
        workers=1,
    )
    corpus = produce(CURATE, config, {}, root / "corpus", name="corpus", console=quiet)
    options = TrainTokenizerConfig(vocabulary=300)
    produce(TRAIN_TOKENIZER, options, {"corpus": corpus}, root / "tokenizer", name="tokenizer", console=quiet)
    tokens = world.tokenize(corpus, "tokens")
    produce(PRETRAIN, PretrainConfig(**MODEL), {"tokens": tokens}, root / "model", name="model", console=quiet)
    return world


@pytest.fixture
def world(made, tmp_path) -> World:
    """A copy of it, to be changed."""
    shutil.copytree(made.root, tmp_path / "runs", ignore=shutil.ignore_patterns(".*.lock", "checkpoints"))
    return World(tmp_path / "runs")
