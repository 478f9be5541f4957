"""The `train-tokenizer` stage: a byte-level BPE from the training documents of a corpus.

Byte-level BPE (Sennrich et al., 2016; bytes as in Radford et al., 2019) is lossless on any text. Text is first split
as for GPT-4's models (`SPLIT`): words with the space or mark before them, numbers in groups of at most three digits,
runs of punctuation with the line ends after them, and indentation apart from the word it precedes; good for code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bedplate.config import Config
from bedplate.data.tokens import BOUNDARY, SPLITS
from bedplate.errors import InputError, InternalError
from bedplate.ledger import Stage

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from bedplate.codecs.text import TextTokenizer
    from bedplate.ledger import Artefact, Work

PAD = "<|pad|>"
SMALLEST = 256 + 2
"""Every byte, and the two special tokens."""

SPLIT = "|".join(
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",  # English endings
        r"[^\r\n\p{L}\p{N}]?\p{L}+",  # a word, with one space or mark before it
        r"\p{N}{1,3}",  # digits, three at a time
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",  # punctuation, with the line ends after it
        r"\s*[\r\n]+",  # blank lines
        r"\s+(?!\S)",  # spaces, but for the one that belongs to the word after them
        r"\s+",
    )
)


class TrainTokenizerConfig(Config):
    """What the tokenizer shall be."""

    vocabulary: int = Field(
        8192, ge=SMALLEST, le=1 << 20, description="Tokens, the two special ones and the 256 bytes included."
    )
    longest_token: int = Field(64, ge=1, description="Greatest length of a token, in bytes.")


TRAIN_TOKENIZER = Stage(
    name="train-tokenizer",
    version=1,
    kind="tokenizer",
    config=TrainTokenizerConfig,
    inputs={"corpus": "corpus"},
    run="bedplate.data.train_tokenizer:run",
    resumes=False,
)


def run(config: TrainTokenizerConfig, inputs: dict[str, Artefact], work: Work) -> None:
    """Train on the train split alone, then check every document of both splits for a lossless round trip."""
    from bedplate.codecs.text import TextTokenizer

    corpus = inputs["corpus"]
    documents = corpus.measures["documents"]
    if not documents["train"]:
        raise InputError(f"{corpus.path}: no training documents", "Curate a corpus with some.")
    backend = train(config, _texts(corpus, "train", work, f"learn {config.vocabulary} tokens"))
    tokenizer = TextTokenizer(
        backend.to_str(),
        {"bos_token": BOUNDARY, "eos_token": BOUNDARY, "pad_token": PAD, "model_input_names": ["input_ids"]},
    )
    tokenizer.save(work.path)
    if tokenizer.vocab_size < config.vocabulary:
        work.console.warn(
            f"the corpus gives only {tokenizer.vocab_size} tokens, not {config.vocabulary}; more documents give more"
        )
    work.measures["vocab_size"] = tokenizer.vocab_size
    work.measures["fingerprint"] = tokenizer.fingerprint
    work.measures["bytes_per_token"] = {
        split: _check_lossless(tokenizer, _texts(corpus, split, work, f"check {split}"), corpus)
        for split in SPLITS
        if documents[split]
    }


def train(config: TrainTokenizerConfig, texts: Iterator[list[str]]) -> Tokenizer:
    """The trained `tokenizers` object. The same texts in the same order give the same tokenizer."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    # A word that is a token is that token, as in Llama 3, whose split this is: llama.cpp knows the pair by one name.
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocabulary,
        special_tokens=[BOUNDARY, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=config.longest_token,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # What `tokenizer(text)` gives elsewhere then begins as the model's training documents do.
    bos = tokenizer.token_to_id(BOUNDARY)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOUNDARY} $A", pair=f"{BOUNDARY} $A {BOUNDARY} $B", special_tokens=[(BOUNDARY, bos)]
    )
    return tokenizer


def _texts(corpus: Artefact, split: str, work: Work, what: str) -> Iterator[list[str]]:
    from bedplate.data.corpus import read_corpus

    done = 0
    with work.console.progress(what, total=corpus.measures["bytes"][split], unit="B") as progress:
        for batch in read_corpus(corpus, ["text", "bytes"], split):
            yield batch["text"]
            done += sum(batch["bytes"])
            progress.update(done)


def _check_lossless(tokenizer: TextTokenizer, batches: Iterator[list[str]], corpus: Artefact) -> float:
    """Bytes of text a token. Raises InternalError for a document that isn't what its tokens spell."""
    size = tokens = 0
    for texts in batches:
        encoded = tokenizer.encode_batch(texts)
        decoded: list[Any] = tokenizer.backend.decode_batch(encoded, skip_special_tokens=False)
        for text, back, ids in zip(texts, decoded, encoded, strict=True):
            if text != back:
                raise InternalError(f"{corpus.path}: the tokenizer loses part of the document {text[:80]!r}...")
            size += len(text.encode())
            tokens += len(ids)
    return size / max(tokens, 1)
