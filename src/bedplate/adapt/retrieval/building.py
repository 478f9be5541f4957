"""Carrying out `index`: documents -> stored texts -> chunks -> vectors -> the table. Resumes after an interruption."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bedplate.adapt.retrieval.chunks import Count, chunk_document, embedded
from bedplate.adapt.retrieval.documents import Account, Document, read_documents
from bedplate.adapt.retrieval.extra import lancedb_module
from bedplate.adapt.retrieval.index_config import IndexConfig, check_index, place_of
from bedplate.adapt.retrieval.record import CHUNKS, DOCUMENTS, LANCE, MODIFIED, IndexRecord
from bedplate.adapt.retrieval.table import schema, write_table
from bedplate.adapt.retrieval.words import WORDS, Vocabulary, words
from bedplate.console.figures import counted
from bedplate.data.corpus import ParquetTable
from bedplate.errors import ArtefactError, BedplateError, InputError, InternalError
from bedplate.ledger import atomic_write

if TYPE_CHECKING:
    from bedplate.families.encoder_model import EncoderModel
    from bedplate.ledger import Artefact, Work

_DOCUMENTS = {"id": "int64", "path": "string", "title": "string", "text": "string", "sha256": "string"}
_MODIFIED = {"id": "int64", "mtime_ns": "int64"}
_CHUNKS = {
    **{"id": "int64", "document": "int64", "start": "int64", "end": "int64"},
    **{"body": "int64", "headings": "string", "context": "string", "tokens": "int64"},
}
_BLOCK = 1024  # chunks whose vectors are kept together while the work is under way
_PARTS = "vectors-"


def run(config: IndexConfig, inputs: dict[str, Artefact], work: Work) -> None:
    """Write the index. Raises InputError where there is no text, or a document that can't be read (before any vector
    is computed), and what loading the encoder raises.

    documents.parquet, chunks.parquet and words.parquet are what the index is, and count in its digest with the record
    of the encoder; the table of vectors follows from them, and its files are volatile.
    """
    from bedplate.families.encoder_model import EncoderModel

    check_index(config, {role: artefact.config for role, artefact in inputs.items()})
    lancedb_module()  # missing: before any work is done
    encoder = EncoderModel.load(inputs["encoder"].path)
    corpus, task = inputs.get("corpus"), inputs.get("task")
    place = place_of(config, None if task is None else task.path)
    if task is not None and (place is None or not place.is_dir()):
        raise ArtefactError(f"{task.path}: a task without documents", "Give a task that has some, or `documents`.")
    reader = _Reader(encoder, config.chunk_tokens)
    with _nothing_left_of(work.path, DOCUMENTS, CHUNKS, MODIFIED, WORDS):
        account, chunks, tokens = _write_texts(config, place, corpus, reader, work)
        where = str(place) if place is not None else str(corpus.path) if corpus is not None else "the documents"
        _check_some(account, where)
    blocks = _embed(encoder, config, work, chunks)
    record = IndexRecord.of(inputs["encoder"].path, encoder, config.language)
    rows = write_table(work.path / LANCE, _rows(work.path, blocks, encoder.width), encoder.width, config.language)
    if rows != chunks:
        raise InternalError(f"the table has {rows} chunks, where {chunks} were cut")
    atomic_write(work.path / "index.json", record.to_json())
    for part in blocks:
        part.unlink()
    work.volatile(f"{LANCE}/**", MODIFIED)
    work.add_flops(2 * encoder.parameter_count() * tokens, "2 N D, embeddings counted as if multiplied")
    work.measures.update(account.measures())
    work.measures.update(
        documents=account.kept, chunks=chunks, tokens=tokens, tokens_per_chunk=round(tokens / chunks, 1), truncated=0
    )
    for what, counts in (("dropped", account.dropped), ("failed", account.failed)):
        if counts:
            reasons = ", ".join(f"{reason} {number:,}" for reason, number in sorted(counts.items()))
            work.console.say(f"{what}: {counted(sum(counts.values()), 'document')} ({reasons})")


class _Reader:
    """Counts tokens as the encoder will read them. limit: of a chunk, without special tokens."""

    def __init__(self, encoder: EncoderModel, chunk_tokens: int) -> None:
        self._encoder = encoder
        specials = len(encoder.encode_batch([""])[0])
        self.limit = min(chunk_tokens, encoder.max_length) - specials

    def count(self, texts: Sequence[str]) -> list[int]:
        if self._encoder.settings.lower_case:
            texts = [text.lower() for text in texts]
        return [len(ids) for ids in self._encoder.tokenizer.encode_batch(texts)]


@contextlib.contextmanager
def _nothing_left_of(folder: Path, *names: str) -> Iterator[None]:
    """Remove these files where the work can't go on anyway: a mistake in the documents isn't a half-made index."""
    try:
        yield
    except BedplateError:
        for name in names:
            (folder / name).unlink(missing_ok=True)
        raise


def _write_texts(
    config: IndexConfig, place: Path | None, corpus: Artefact | None, reader: _Reader, work: Work
) -> tuple[Account, int, int]:
    """Store every document's text and the spans of its chunks. Returns the account, chunks, and their tokens."""
    account, chunks, tokens = Account(), 0, 0
    seen: Counter[str] = Counter()
    with (
        ParquetTable(work.path, "documents", _DOCUMENTS, single=True) as documents,
        ParquetTable(work.path, "modified", _MODIFIED, single=True) as modified,
        ParquetTable(work.path, "chunks", _CHUNKS, single=True) as table,
        work.console.progress("read", total=None, unit="documents") as progress,
    ):
        for number, document in enumerate(read_documents(config, place, corpus, account)):
            documents.add(_document_row(number, document))
            modified.add({"id": number, "mtime_ns": document.modified})
            for row in _chunk_rows(number, document, reader.limit, reader.count):
                table.add({"id": chunks, **row})
                seen.update(words(embedded(document.text, row["start"], row["end"], json.loads(row["context"]))))
                chunks, tokens = chunks + 1, tokens + row["tokens"]
            progress.update(account.read, chunks=chunks)
    Vocabulary.save(work.path, seen)
    return account, chunks, tokens


def _document_row(number: int, document: Document) -> dict[str, Any]:
    named = {"id": number, "path": document.source, "title": document.title}
    return {**named, "text": document.text, "sha256": document.sha256}


def _chunk_rows(number: int, document: Document, limit: int, count: Count) -> Iterator[dict[str, Any]]:
    for chunk in chunk_document(document.content, limit, count):
        yield {
            "document": number,
            "start": chunk.start,
            "end": chunk.end,
            "body": chunk.body,
            "headings": json.dumps(chunk.headings, ensure_ascii=False),
            "context": json.dumps(chunk.context, ensure_ascii=False),
            "tokens": chunk.tokens,
        }


def _check_some(account: Account, where: str) -> None:
    if account.kept:
        return
    counts = account.dropped + account.failed
    why = ", ".join(f"{reason} {number:,}" for reason, number in sorted(counts.items()))
    raise InputError(
        f"{where}: no text in it: {counted(account.read, 'document')} read, none kept" + (f" ({why})" if why else ""),
        "Give documents with text in them.",
    )


@dataclass(frozen=True)
class _Block:
    """Up to _BLOCK chunks: the rows of chunks.parquet, and what the encoder reads of each."""

    rows: list[dict[str, Any]]
    texts: list[str]

    def name(self) -> str:
        """The file that its vectors are kept in: named by the texts, so that no others are ever taken for them."""
        digest = hashlib.sha256(json.dumps(self.texts).encode()).hexdigest()
        return f"{_PARTS}{self.rows[0]['id']:09d}-{digest[:24]}.npy"


def _blocks(folder: Path) -> Iterator[_Block]:
    """The chunks in order, with their texts out of the stored documents."""
    import pyarrow.parquet as pq

    documents = _texts(folder)
    number, text = next(documents)
    for batch in pq.ParquetFile(folder / CHUNKS).iter_batches(batch_size=_BLOCK):
        rows, texts = batch.to_pylist(), []
        for row in rows:
            while number != row["document"]:
                number, text = next(documents)
            texts.append(embedded(text, row["start"], row["end"], json.loads(row["context"])))
        yield _Block(rows, texts)


def _texts(folder: Path) -> Iterator[tuple[int, str]]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(folder / DOCUMENTS).iter_batches(batch_size=64, columns=["id", "text"]):
        yield from zip(batch.column("id").to_pylist(), batch.column("text").to_pylist(), strict=True)


def _embed(encoder: EncoderModel, config: IndexConfig, work: Work, chunks: int) -> list[Path]:
    """The files of all blocks' vectors, computing those that an earlier attempt hasn't left."""
    parts: list[Path] = []
    with work.console.progress("embed", total=chunks, unit="chunks") as progress:
        for block in _blocks(work.path):
            part = work.path / block.name()
            if not part.is_file():
                made = encoder.embed_counted(block.texts, batch_tokens=config.batch_tokens)
                if made.truncated:
                    raise InternalError(f"{made.truncated} chunks are longer than the encoder reads")
                content = io.BytesIO()
                np.save(content, made.vectors, allow_pickle=False)
                atomic_write(part, content.getvalue())
            parts.append(part)
            progress.update(block.rows[-1]["id"] + 1)
    for left in work.path.glob(f"{_PARTS}*.npy"):  # of an earlier attempt on other texts
        if left not in parts:
            left.unlink()
    return parts


def _rows(folder: Path, parts: Sequence[Path], width: int) -> Iterator[Any]:
    """The table's rows as record batches."""
    import pyarrow as pa

    columns = schema(width)
    for block, part in zip(_blocks(folder), parts, strict=True):
        vectors: npt.NDArray[np.float32] = np.load(part, allow_pickle=False)
        own = [row["end"] - row["start"] for row in block.rows]
        yield pa.RecordBatch.from_arrays(
            [
                *(pa.array([row[name] for row in block.rows]) for name in ("id", "document", "start", "end", "body")),
                pa.array([row["headings"] for row in block.rows]),
                pa.array([len(text) - length for text, length in zip(block.texts, own, strict=True)]),
                pa.array(block.texts),
                pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), width),
            ],
            schema=columns,
        )
