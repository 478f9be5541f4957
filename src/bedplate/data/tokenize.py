"""The `tokenize` stage: corpus + tokenizer -> token shards and the table of which document is where.

Shards hold document tokens alone; boundaries are put in when rows are packed (`bedplate.data.packing`). A shard is
committed when its part of the table is written, so an interrupted run goes on after its last whole shard.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from bedplate.config import Config, execution
from bedplate.data.tokens import DOCUMENTS, SPLITS, TOKENIZER, boundary_id, shard_name
from bedplate.ledger import Stage, atomic_write

if TYPE_CHECKING:
    import numpy.typing as npt

    from bedplate.ledger import Artefact, Work

_TABLE = ("id", "split", "shard", "start", "end", "bytes", "copies", "phase")


class TokenizeConfig(Config):
    """How tokens are laid down."""

    shard_tokens: int = Field(1 << 26, ge=1, description="A shard is closed once it holds this many tokens.")
    chunk_bytes: int = execution(2 << 20, ge=1, description="Bytes of text tokenized at a time, on all cores.")


TOKENIZE = Stage(
    name="tokenize",
    version=2,
    kind="tokens",
    config=TokenizeConfig,
    inputs={"corpus": "corpus", "tokenizer": "tokenizer|model"},
    run="bedplate.data.tokenize:run",
)


def run(config: TokenizeConfig, inputs: dict[str, Artefact], work: Work) -> None:
    """Write the shards, `documents.parquet` and a copy of the tokenizer. Raises TokenizerError for one without EOS."""
    from bedplate.codecs.text import TextTokenizer
    from bedplate.data.corpus import read_corpus

    corpus, folder = inputs["corpus"], inputs["tokenizer"].path
    tokenizer = TextTokenizer.load(folder)
    boundary_id(tokenizer, str(folder))
    tokenizer.save(work.path / TOKENIZER)
    unknown = tokenizer.backend.token_to_id(tokenizer.named_tokens.get("unk_token", ""))

    dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32)
    shards = {split: ShardWriter(work.path, split, dtype, config.shard_tokens, unknown) for split in SPLITS}
    done = 0
    with work.console.progress("tokenize", total=sum(corpus.measures["bytes"].values()), unit="B") as progress:
        columns = ["id", "text", "split", "bytes", *mixture_columns(corpus)]
        for chunk in read_corpus(corpus, columns, chunk_bytes=config.chunk_bytes):
            rows = [dict(zip(columns, values, strict=True)) for values in zip(*chunk.values(), strict=True)]
            fresh = [row for row in rows if shards[row["split"]].wants()]
            encoded = tokenizer.encode_batch([row["text"] for row in fresh])
            for row, ids in zip(fresh, encoded, strict=True):
                shards[row["split"]].add(row, np.array(ids, dtype=dtype))
            done += sum(chunk["bytes"])
            progress.update(done)
    for writer in shards.values():
        writer.close()
    measures = merge_tables(work.path, shards)
    work.measures.update(measures)
    work.measures["vocab_size"] = tokenizer.vocab_size
    work.measures["tokenizer_fingerprint"] = tokenizer.fingerprint


class ShardWriter:
    """Fills one split's shards in order; what an earlier attempt committed is left out."""

    def __init__(self, folder: Path, split: str, dtype: np.dtype[Any], shard_tokens: int, unknown: int | None) -> None:
        self._folder, self._split, self._dtype, self._limit, self._unknown = folder, split, dtype, shard_tokens, unknown
        self._tokens: list[npt.NDArray[np.unsignedinteger]] = []
        self._rows: list[dict[str, Any]] = []
        self._filled = 0
        self.shards = 0
        self._skip = 0
        while (path := self.part(self.shards)).is_file():
            import pyarrow.parquet as pq

            self._skip += pq.read_metadata(path).num_rows
            self.shards += 1

    def wants(self) -> bool:
        """Whether the split's next document is still to be tokenized; to be asked once for each."""
        if self._skip:
            self._skip -= 1
            return False
        return True

    def add(self, row: dict[str, Any], ids: npt.NDArray[np.unsignedinteger]) -> None:
        start, self._filled = self._filled, self._filled + len(ids)
        place = {"shard": self.shards, "start": start, "end": self._filled}
        unknown = 0 if self._unknown is None else int((ids == self._unknown).sum())
        times = {"copies": row.get("copies", 1), "phase": row.get("phase") or 0}
        self._rows.append({**{k: row[k] for k in ("id", "split", "bytes")}, **place, **times, "unknown": unknown})
        self._tokens.append(ids)
        if self._filled >= self._limit:
            self.close()

    def close(self) -> None:
        """Commit the shard that is being filled."""
        if not self._rows:
            return
        content = io.BytesIO()
        np.save(content, np.concatenate(self._tokens), allow_pickle=False)
        atomic_write(self._folder / shard_name(self._split, self.shards), content.getvalue())
        atomic_write(self.part(self.shards), _parquet(self._rows))
        self.shards += 1
        self._tokens, self._rows, self._filled = [], [], 0

    def part(self, number: int) -> Path:
        """The table of one shard's documents: the shard's commit mark, gone once the whole table is written."""
        return self._folder / f"table-{self._split}-{number:05d}.parquet"


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, number = pa.string(), pa.int64()
    kinds = {
        "id": text,
        "split": text,
        "shard": pa.int32(),
        "start": number,
        "end": number,
        "bytes": number,
        "copies": pa.int32(),
        "phase": pa.int32(),
    }
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, pa.schema({**kinds, "unknown": number})), content, compression="zstd")
    return content.getvalue()


def mixture_columns(corpus: Artefact) -> list[str]:
    """What a corpus that was mixed says of its documents."""
    import pyarrow.parquet as pq

    first = next(iter(sorted(corpus.path.glob("part-*.parquet"))), None)
    names = [] if first is None else pq.read_schema(first).names
    return [name for name in ("copies", "phase") if name in names]


def merge_tables(folder: Path, shards: dict[str, ShardWriter]) -> dict[str, Any]:
    """Write `documents.parquet` from the shards' tables, take those away, and give the counts."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    parts = [writer.part(number) for writer in shards.values() for number in range(writer.shards)]
    whole = folder / DOCUMENTS
    table = pa.concat_tables([pq.read_table(part) for part in parts])
    content = io.BytesIO()
    pq.write_table(table.select(list(_TABLE)), content, compression="zstd", row_group_size=1 << 16)
    atomic_write(whole, content.getvalue())
    counts: dict[str, Any] = {
        "documents": {},
        "tokens": {},
        "bytes": {},
        "unknown": {},
        "bytes_per_token": {},
        "epoch_tokens": {},
    }
    for split in shards:
        rows = table.filter(pc.equal(table.column("split"), split))
        tokens = pc.sum(pc.subtract(rows.column("end"), rows.column("start"))).as_py() or 0
        size = pc.sum(rows.column("bytes")).as_py() or 0
        counts["documents"][split], counts["tokens"][split], counts["bytes"][split] = rows.num_rows, tokens, size
        counts["unknown"][split] = pc.sum(rows.column("unknown")).as_py() or 0
        counts["bytes_per_token"][split] = size / tokens if tokens else None
        lengths = pc.subtract(rows.column("end"), rows.column("start"))
        counts["epoch_tokens"][split] = pc.sum(pc.multiply(lengths, rows.column("copies"))).as_py() or 0
    for part in parts:
        part.unlink()
    return counts
