"""A small corpus, tokenizer and tokens artefact, made by the real stages from real files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bedplate.config import fold_in
from bedplate.console import Console
from bedplate.data.curate import CURATE, CurateConfig
from bedplate.data.tokenize import TOKENIZE, TokenizeConfig
from bedplate.data.train_tokenizer import TRAIN_TOKENIZER, TrainTokenizerConfig
from bedplate.ledger import Artefact, produce

WORDS = [
    "the",
    "def",
    "return",
    "class",
    "12345",
    "naïve",
    "日本",
    "🙂",
    "x_y",
    "[]",
    "\t",
    "\r\n\n",
    "’",
    "<|endoftext|>",
]


@dataclass(frozen=True)
class Built:
    """The artefacts of a small run, and the folder of raw files it was made from."""

    raw: Path
    corpus: Artefact
    tokenizer: Artefact
    tokens: Artefact


def write_documents(folder: Path, count: int, seed: int = 0) -> None:
    """Text files of many lengths, no two alike."""
    random = np.random.Generator(np.random.PCG64(fold_in(seed, "documents")))
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        words = random.choice(WORDS, size=int(random.integers(1, 120)))
        (folder / f"{number:04d}.txt").write_text(f"{number} " + " ".join(words), encoding="utf-8", newline="")


def curate(out: Path, console: Console | None = None, **config) -> Artefact:
    return produce(CURATE, CurateConfig(**config), {}, out, name="corpus", console=console or Console.quiet())


def tokenize(corpus: Artefact, tokenizer: Artefact, out: Path, **config) -> Artefact:
    inputs = {"corpus": corpus, "tokenizer": tokenizer}
    return produce(TOKENIZE, TokenizeConfig(**config), inputs, out, name="tokens", console=Console.quiet())


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Built:
    root = tmp_path_factory.mktemp("built")
    write_documents(root / "raw", 120)
    corpus = curate(root / "corpus", sources=[{"folder": str(root / "raw"), "license": "CC0-1.0"}], validation=0.2)
    tokenizer = produce(
        TRAIN_TOKENIZER,
        TrainTokenizerConfig(vocabulary=300),
        {"corpus": corpus},
        root / "tokenizer",
        name="tokenizer",
        console=Console.quiet(),
    )
    return Built(root / "raw", corpus, tokenizer, tokenize(corpus, tokenizer, root / "tokens", shard_tokens=1500))


@pytest.fixture
def stages():
    """The stages as plain functions: `stages.curate(out, sources=...)`, `stages.tokenize(corpus, tokenizer, out)`."""

    class Stages:
        curate = staticmethod(curate)
        tokenize = staticmethod(tokenize)
        write_documents = staticmethod(write_documents)

    return Stages
