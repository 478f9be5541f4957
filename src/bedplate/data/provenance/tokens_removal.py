"""The `remove-tokens` stage: a tokens artefact after documents left its corpus, with nothing tokenized anew.

Spans that stay are copied, in the corpus's order, and shards filled as `tokenize` fills them: so the bytes are those
that tokenizing the reduced corpus gives.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from bedplate.config import Config
from bedplate.data.provenance.earlier_tokens import BEFORE, keep_tables
from bedplate.data.tokenize import ShardWriter, merge_tables, mixture_columns
from bedplate.data.tokens import DOCUMENTS, SPLITS, TOKENIZER, shard_name
from bedplate.errors import ArtefactError
from bedplate.ledger import Stage
from bedplate.ledger.usage import EARLIER, earlier_digests

if TYPE_CHECKING:
    import numpy.typing as npt

    from bedplate.ledger import Artefact, Work

_KEPT = ("vocab_size", "tokenizer_fingerprint")


class RemoveTokensConfig(Config):
    """How tokens are laid down: as they were."""

    shard_tokens: int = Field(ge=1, description="A shard is closed once it holds this many tokens.")


REMOVE_TOKENS = Stage(
    name="remove-tokens",
    version=2,
    kind="tokens",
    config=RemoveTokensConfig,
    inputs={"tokens": "tokens", "corpus": "corpus"},
    run="bedplate.data.provenance.tokens_removal:run",
)


def run(config: RemoveTokensConfig, inputs: Mapping[str, Artefact], work: Work) -> None:
    """Write the shards and the table of what the reduced corpus still has. Raises ArtefactError where it has something
    that the tokens lack."""
    from bedplate.codecs.text import TextTokenizer

    tokens, corpus = inputs["tokens"], inputs["corpus"]
    shutil.copytree(tokens.file(TOKENIZER), work.path / TOKENIZER, dirs_exist_ok=True)
    tokenizer = TextTokenizer.load(work.path / TOKENIZER)
    unknown = tokenizer.backend.token_to_id(tokenizer.named_tokens.get("unk_token", ""))
    dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32)
    shards = {split: ShardWriter(work.path, split, dtype, config.shard_tokens, unknown) for split in SPLITS}
    old = {split: _Spans(tokens, split) for split in SPLITS}
    for row in _documents(corpus):
        split = row["split"]
        if shards[split].wants():
            shards[split].add(row, old[split].of(row, corpus))
        else:
            old[split].skip(row, corpus)
    for writer in shards.values():
        writer.close()
    work.measures.update(merge_tables(work.path, shards))
    work.measures.update({name: tokens.measures[name] for name in _KEPT})
    work.measures[EARLIER] = [tokens.digest, *earlier_digests(tokens)]
    keep_tables(tokens, work.path)
    work.volatile(f"{BEFORE}/**")


def _documents(corpus: Artefact) -> Iterator[dict[str, Any]]:
    from bedplate.data.corpus import read_corpus

    columns = ["id", "split", "bytes", *mixture_columns(corpus)]
    for chunk in read_corpus(corpus, columns):
        for values in zip(*chunk.values(), strict=True):
            yield dict(zip(columns, values, strict=True))


class _Spans:
    """The old documents of a split in their order, of which the reduced corpus has some, in the same order."""

    def __init__(self, tokens: Artefact, split: str) -> None:
        self._tokens, self._split = tokens, split
        self._rows = _table(tokens.path / DOCUMENTS, split)
        self._shard = -1
        self._content: npt.NDArray[np.unsignedinteger] = np.empty(0, dtype=np.uint16)

    def of(self, row: Mapping[str, Any], corpus: Artefact) -> npt.NDArray[np.unsignedinteger]:
        """The tokens of the next document that stays."""
        place = self.skip(row, corpus)
        if place["shard"] != self._shard:
            path = self._tokens.file(shard_name(self._split, place["shard"]))
            self._content, self._shard = np.load(path, mmap_mode="r"), place["shard"]
        return np.array(self._content[place["start"] : place["end"]])

    def skip(self, row: Mapping[str, Any], corpus: Artefact) -> dict[str, Any]:
        """Its place, where an earlier attempt has copied it already."""
        # Of two documents with one id the text is the same, so it doesn't matter which of them is taken for which; but
        # how often each is seen does.
        wanted = (row["id"], row["bytes"], row.get("copies", 1), row.get("phase") or 0)
        for place in self._rows:
            if (place["id"], place["bytes"], place.get("copies", 1), place.get("phase") or 0) == wanted:
                return place
        raise ArtefactError(
            f"{self._tokens.path}: has no tokens of document {row['id']} of {corpus.path}, at its place in the order",
            f"Tokenize {corpus.path} anew.",
        )


def _table(path: Path, split: str) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1 << 14):
                yield from (row for row in batch.to_pylist() if row["split"] == split)
    except (pa.ArrowException, OSError) as error:
        raise ArtefactError(f"{path}: not a whole Parquet file: {error}", "Make the tokens artefact again.") from error
