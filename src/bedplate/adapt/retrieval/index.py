"""`Index`: a finished index, open for searching. Every passage is an exact span of a stored text."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from bedplate.adapt.retrieval.fusion import fused
from bedplate.adapt.retrieval.record import CHUNKS, DOCUMENTS, LANCE, IndexRecord
from bedplate.adapt.retrieval.table import Row, Table
from bedplate.adapt.retrieval.words import WORDS, Vocabulary
from bedplate.errors import ArtefactError, UserError
from bedplate.ledger.artefact import Artefact, open_artefact

if TYPE_CHECKING:
    from bedplate.families.encoder_model import EncoderModel

Mode = Literal["hybrid", "vector", "bm25"]
MODES: tuple[Mode, ...] = ("hybrid", "vector", "bm25")
MOST = 1000
"""Passages that one search may ask for."""

_DEPTH = 100  # passages that either search gives to be fused, or four times those asked for


@dataclass(frozen=True)
class Passage:
    """A chunk that was found: `text` is characters [start, end) of the document `source`.

    id: its number in the index, whose neighbours in the document are id - 1 and id + 1. title: the document's title and
    the headings above it, or the source where there is neither; headings: the same one by one, and empty then. body:
    where the text below its own headings begins. score: what it was ranked by. scores: by mode, where it was found by
    that one: the cosine to the query (vector), the BM25 score (bm25), the two fused (hybrid).
    """

    id: int
    document: int
    source: str
    title: str
    start: int
    end: int
    body: int
    text: str
    headings: tuple[str, ...]
    score: float
    scores: Mapping[str, float] = field(default_factory=dict)


class Index:
    """Searches one index. Safe to use from several threads."""

    def __init__(self, artefact: Artefact, record: IndexRecord, encoder_folder: Path) -> None:
        """Use `Index.open`."""
        self.artefact, self.record, self._encoder_folder = artefact, record, encoder_folder
        self.table = Table(artefact.file(LANCE))
        self._lock = threading.Lock()
        self._encoder: EncoderModel | None = None

    @classmethod
    def open(cls, artefact: Artefact | Path | str, encoder: Path | str | None = None) -> Index:
        """The index in an artefact of that kind.

        encoder: where the encoder is, if not where it was. Raises ArtefactError where either is missing or damaged, and
        where the encoder isn't the one that built the index.
        """
        if not isinstance(artefact, Artefact):
            artefact = open_artefact(artefact, "index")
        elif artefact.kind != "index":
            raise ArtefactError(f"{artefact.path}: a {artefact.kind} artefact, not an index", "Give an index's folder.")
        record = IndexRecord.read(artefact.path)
        if encoder is None:
            from bedplate.adapt.inputs import input_folder

            folder = input_folder(artefact, "encoder")
        else:
            folder = Path(encoder)
        record.check_weights(folder, artefact.path)
        return cls(artefact, record, folder)

    @property
    def encoder(self) -> EncoderModel:
        """The encoder that built the index, loaded when it is first needed."""
        with self._lock:
            if self._encoder is None:
                from bedplate.families.encoder_model import EncoderModel

                encoder = EncoderModel.load(self._encoder_folder)
                self.record.check_encoder(encoder, self._encoder_folder, self.artefact.path)
                self._encoder = encoder
            return self._encoder

    def search(self, query: str, k: int = 5, mode: Mode = "hybrid") -> list[Passage]:
        """The k best passages for a question, best first; fewer where there aren't so many (bm25: with a word of it).

        Raises UserError for a mode or a k that there isn't.
        """
        return self.search_many([query], k, mode)[0]

    def search_many(
        self,
        queries: Sequence[str],
        k: int = 5,
        mode: Mode = "hybrid",
        *,
        vectors: npt.NDArray[np.float32] | None = None,
    ) -> list[list[Passage]]:
        """`search` for many questions, whose vectors are computed together unless they are given. A question longer
        than the encoder reads is cut for its vector; its words are all searched for."""
        if mode not in MODES:
            raise UserError(f"mode={mode!r}: no such way to search", f"One of {', '.join(MODES)}.")
        if not 1 <= k <= MOST:
            raise UserError(f"k={k}: not from 1 to {MOST}")
        if mode == "bm25":
            return [
                [self._passage(row, row.words or 0.0, {"bm25": row.words or 0.0}) for row in self.table.matching(q, k)]
                for q in queries
            ]
        if vectors is None:
            vectors = self.embed(queries)
        return [self._search(query, vector, k, mode) for query, vector in zip(queries, vectors, strict=True)]

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors [N, D] of length 1, as questions are compared by; of length 0 for texts that are empty."""
        vectors = np.zeros((len(texts), self.record.width), dtype=np.float32)
        if full := [number for number, text in enumerate(texts) if text.strip()]:
            vectors[full] = self.encoder.embed_counted([texts[number] for number in full]).vectors
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def source_text(self, source: str) -> str:
        """The stored text of a document: what a passage's or citation's start and end refer to.

        Raises UserError for a source that isn't in the index.
        """
        import pyarrow.parquet as pq

        if source not in self._numbers:
            raise UserError(f"{source}: no such document in {self.artefact.path}")
        file = self.artefact.file(DOCUMENTS)
        found = pq.read_table(file, columns=["text"], filters=[("id", "==", self._numbers[source])])
        text: str = found.column("text")[0].as_py()
        return text

    def neighbours(self, passage: Passage) -> tuple[Passage | None, Passage | None]:
        """The chunks before and after it in its document; None where it is the first or last."""
        near = {row.id: row for row in self.table.some([passage.id - 1, passage.id + 1])}
        pair = (near.get(passage.id - 1), near.get(passage.id + 1))
        before, after = (None if row is None or row.document != passage.document else row for row in pair)
        return (
            None if before is None else self._passage(before, 0.0, {}),
            None if after is None else self._passage(after, 0.0, {}),
        )

    def _search(self, query: str, vector: npt.NDArray[np.float32], k: int, mode: Mode) -> list[Passage]:
        depth = k if mode == "vector" else max(_DEPTH, 4 * k)
        nearest = self.table.nearest(vector, depth) if vector.any() else []
        if mode == "vector":
            return [self._passage(row, (near := cosine(row.vector, vector)), {"vector": near}) for row in nearest]
        matching = self.table.matching(query, depth)
        rows = {row.id: row for row in (*nearest, *matching)}
        cosines = {number: cosine(row.vector, vector) for number, row in rows.items()}
        words = {row.id: row.words for row in matching if row.words is not None}
        least = min((cosines[row.id] for row in nearest), default=0.0)
        found = []
        for number, score in fused(cosines, words, least)[:k]:
            scores = {"hybrid": score, "vector": cosines[number]}
            if number in words:
                scores["bm25"] = words[number]
            found.append(self._passage(rows[number], score, scores))
        return found

    def _passage(self, row: Row, score: float, scores: Mapping[str, float]) -> Passage:
        source, title = self._documents[row.document]
        path = row.headings if not title or row.headings[:1] == (title,) else (title, *row.headings)
        name = " > ".join(path) or source
        place = (row.id, row.document, source, name, row.start, row.end, row.body)
        return Passage(*place, text=row.text, headings=path, score=score, scores=scores)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """How much each word tells, by the chunks that have it."""
        return Vocabulary.load(self.artefact.file(WORDS), len(self))

    @cached_property
    def _documents(self) -> list[tuple[str, str]]:
        """(source, title) by number."""
        import pyarrow.parquet as pq

        found = pq.read_table(self.artefact.file(DOCUMENTS), columns=["path", "title"])
        return list(zip(found.column("path").to_pylist(), found.column("title").to_pylist(), strict=True))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {source: number for number, (source, _) in enumerate(self._documents)}

    def __len__(self) -> int:
        """Chunks."""
        return self.table.rows

    def chunk_file(self) -> Path:
        """The table of chunks: id, document, start, end, headings, context, tokens."""
        return self.artefact.file(CHUNKS)


def cosine(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    """In [-1, 1]; 0 where either has no length."""
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else 0.0
