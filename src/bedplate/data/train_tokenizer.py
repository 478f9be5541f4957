"""The `train-tokenizer` stage: a tokenizer from the training documents of a corpus.

Five kinds. Byte-level BPE (Sennrich et al., 2016; bytes as in Radford et al., 2019), the usual one, is lossless on any
text; so are `unigram` (Kudo, 2018, with bytes for rare characters; of all signs only U+2581 is lost, read as a space)
and `bytes`. `wordpiece` (Devlin et al., 2019) loses white space and rare characters, and `characters` whatever is
outside its alphabet. What is lost is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from bedplate.config import Config
from bedplate.data.special_tokens import PAD, SCHEMES, Specials
from bedplate.data.tokenizer_kinds import (
    SPLIT,
    Texts,
    byte_tokenizer,
    character_tokenizer,
    train_bpe,
    train_unigram,
    train_wordpiece,
)
from bedplate.data.tokens import SPLITS
from bedplate.errors import InputError, InternalError
from bedplate.ledger import Stage

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from bedplate.codecs.text import TextTokenizer
    from bedplate.ledger import Artefact, Work

__all__ = ["PAD", "SPLIT", "TRAIN_TOKENIZER", "TrainTokenizerConfig", "run", "train"]

Kind: TypeAlias = Literal["bpe", "wordpiece", "unigram", "bytes", "characters"]
Alphabet: TypeAlias = Literal["seen", "amino-acids", "nucleotides", "smiles"]
Scheme: TypeAlias = Literal["document", "fill-in-the-middle", "bert", "esm", "t5", "byt5"]

_USUAL: dict[Kind, Scheme] = {
    "bpe": "document", "wordpiece": "bert", "unigram": "t5", "bytes": "byt5", "characters": "esm",
}  # fmt: skip
_LEAST = {"bpe": 256, "wordpiece": 1, "unigram": 257, "bytes": 256, "characters": 1}
_EXACT: frozenset[Kind] = frozenset({"bpe", "bytes"})


class TrainTokenizerConfig(Config):
    """What the tokenizer shall be."""

    kind: Kind = Field("bpe", description="How text is cut: byte-level BPE, WordPiece, Unigram, bytes, or characters.")
    vocabulary: int = Field(
        8192, ge=1, le=1 << 20, description="Most tokens, special ones included; a fixed alphabet has fewer."
    )
    specials: Scheme | None = Field(
        None,
        description="Special tokens: a causal model's, one's that fills gaps, BERT's, ESM's, T5's or ByT5's; as usual "
        "for the kind where absent (bpe document, wordpiece bert, unigram t5, bytes byt5, characters esm).",
    )
    longest_token: int = Field(64, ge=1, description="Greatest length of a token: bpe bytes, else characters.")
    alphabet: Alphabet = Field(
        "seen", description="characters: the corpus's own, amino acids (ESM-2's order), nucleotides or SMILES atoms."
    )
    coverage: float = Field(
        0.9995,
        gt=0,
        le=1,
        description="wordpiece, unigram: share of the characters' uses that get tokens of their own.",
    )
    lowercase: bool = Field(False, description="wordpiece: lower case without accents.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        least = _LEAST[self.kind] + self.special_tokens.count
        if self.vocabulary < least:
            raise ValueError(
                f"vocabulary {self.vocabulary}: {self.kind} with these special tokens has at least {least}"
            )
        if self.kind != "characters" and self.alphabet != "seen":
            raise ValueError(f"alphabet {self.alphabet} is for kind characters, not {self.kind}")
        if self.lowercase and self.kind != "wordpiece":
            raise ValueError(f"lowercase is for kind wordpiece, not {self.kind}")
        if self.alphabet == "smiles" and self.specials == "bert":
            raise ValueError("specials bert: SMILES would read [CLS] as an atom; take esm, document or t5")
        return self

    @property
    def special_tokens(self) -> Specials:
        """The special tokens, with one for the unknown where the kind needs it."""
        scheme = SCHEMES[self.specials or _USUAL[self.kind]]
        return scheme if self.kind in _EXACT else scheme.with_unknown()


TRAIN_TOKENIZER = Stage(
    name="train-tokenizer",
    version=2,
    kind="tokenizer",
    config=TrainTokenizerConfig,
    inputs={"corpus": "corpus"},
    run="bedplate.data.train_tokenizer:run",
    resumes=False,
)


def run(config: TrainTokenizerConfig, inputs: dict[str, Artefact], work: Work) -> None:
    """Train on the train split alone, then read back every document of both splits: one that isn't what its tokens
    spell is our error for a lossless kind, and counted for another."""
    from bedplate.codecs.text import TextTokenizer

    corpus = inputs["corpus"]
    documents = corpus.measures["documents"]
    if not documents["train"]:
        raise InputError(f"{corpus.path}: no training documents", "Curate a corpus with some.")
    try:
        backend = train(config, lambda: _texts(corpus, "train", work, f"learn {config.vocabulary} tokens"))
    except ValueError as error:  # more characters than the vocabulary has room for
        raise InputError(f"{corpus.path}: {error}", "Raise vocabulary, or lower coverage.") from error
    settings = {**config.special_tokens.roles, "model_input_names": ["input_ids"]}
    tokenizer = TextTokenizer(backend.to_str(), settings)
    tokenizer.save(work.path)
    if tokenizer.vocab_size < config.vocabulary and _learns(config):
        work.console.warn(
            f"the corpus gives only {tokenizer.vocab_size} tokens, not {config.vocabulary}; more documents give more"
        )
    work.measures["vocab_size"] = tokenizer.vocab_size
    work.measures["fingerprint"] = tokenizer.fingerprint
    read = {
        split: _read_back(tokenizer, _texts(corpus, split, work, f"check {split}"), corpus, exact=config.kind in _EXACT)
        for split in SPLITS
        if documents[split]
    }
    for name in ("bytes_per_token", "unknown", "changed"):
        work.measures[name] = {split: measured[name] for split, measured in read.items()}
    for split, measured in read.items():
        if measured["changed"]:
            work.console.warn(f"{split}: {measured['changed']} documents aren't wholly what their tokens spell")


def train(config: TrainTokenizerConfig, texts: Texts) -> Tokenizer:
    """The trained `tokenizers` object. texts: gives the batches of texts from the first on, at each call. The same
    texts in the same order give the same tokenizer. Raises ValueError where the characters alone are too many."""
    size, specials, longest = config.vocabulary, config.special_tokens, config.longest_token
    match config.kind:
        case "bpe":
            return train_bpe(texts, size, specials, longest)
        case "wordpiece":
            return train_wordpiece(texts, size, specials, longest, config.coverage, config.lowercase)
        case "unigram":
            return train_unigram(texts, size, specials, longest, config.coverage)
        case "bytes":
            return byte_tokenizer(specials)
        case "characters":
            return character_tokenizer(texts, size, specials, config.alphabet)


def _learns(config: TrainTokenizerConfig) -> bool:
    """Whether more text would give more tokens of this size."""
    return config.kind in ("bpe", "wordpiece", "unigram")


def _texts(corpus: Artefact, split: str, work: Work, what: str) -> Iterator[list[str]]:
    from bedplate.data.corpus import read_corpus

    done = 0
    with work.console.progress(what, total=corpus.measures["bytes"][split], unit="B") as progress:
        for batch in read_corpus(corpus, ["text", "bytes"], split):
            yield batch["text"]
            done += sum(batch["bytes"])
            progress.update(done)


def _read_back(
    tokenizer: TextTokenizer, batches: Iterator[list[str]], corpus: Artefact, *, exact: bool
) -> dict[str, Any]:
    """Bytes of text a token, unknown tokens, and documents that aren't what their tokens spell; exact: raise
    InternalError for the first of those."""
    size = tokens = unknown = changed = 0
    for texts in batches:
        encoded = tokenizer.encode_batch(texts)
        decoded: list[Any] = tokenizer.backend.decode_batch(encoded, skip_special_tokens=False)
        for text, back, ids in zip(texts, decoded, encoded, strict=True):
            if exact and text != back:
                raise InternalError(f"{corpus.path}: the tokenizer loses part of the document {text[:80]!r}...")
            changed += text != back
            size += len(text.encode())
            tokens += len(ids)
            unknown += 0 if tokenizer.unk_id is None else ids.count(tokenizer.unk_id)
    return {"bytes_per_token": size / max(tokens, 1), "unknown": unknown, "changed": changed}
