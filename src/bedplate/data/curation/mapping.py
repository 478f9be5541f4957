"""The map: one task reads a piece of the sources, puts its documents through the steps, and writes them as a shard."""

from __future__ import annotations

import functools
import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedplate.data.corpus import ParquetTable
from bedplate.data.curate import CurateConfig, Source
from bedplate.data.curation.account import StageCounts, merge
from bedplate.data.curation.rows import row_of, shard_schema
from bedplate.data.curation.shards import DOCUMENTS
from bedplate.data.curation.step import Step
from bedplate.data.curation.steps import columns_of, make_steps
from bedplate.data.documents import Document, Failure
from bedplate.data.engine.journal import ALONE, READING, TOGETHER, WRITING, Advice, Journal
from bedplate.data.privacy.step import masker_of
from bedplate.data.reading import Limits, Piece, read
from bedplate.errors import BedplateError, InputError

BATCH_DOCUMENTS = 256
BATCH_BYTES = 8 << 20
READ = "read"


def map_piece(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make a shard. arguments: config (CurateConfig), source, piece, carried (columns of earlier corpora), taken_down
    (lists of what was taken out of these), run (what tells this curation from any other), advice. Measures: {stage:
    counts}.

    Raises InputError, naming file and line, for what can't be read where on_error=stop.
    """
    config: CurateConfig = arguments["config"]
    steps = _steps(
        arguments["run"], config.model_dump_json(), tuple(arguments["carried"].items()), arguments["taken_down"]
    )
    advice = arguments.get("advice") or Advice()
    mapper = _Mapper(config, arguments["source"], arguments["piece"], steps, advice)
    columns = arguments["carried"] | columns_of(mapper.steps)
    name = DOCUMENTS.removesuffix(".parquet")
    with (
        Journal(folder) as journal,
        ParquetTable(folder, name, shard_schema(columns), single=True, group_bytes=BATCH_BYTES) as table,
    ):
        label, mask = mapper.source.label, masker_of(steps)
        for document in mapper.documents(journal):
            table.add(row_of(document, label, columns, mask))
    return {"stages": {name: counts.measures() for name, counts in mapper.counts.items()}}


def describe_steps(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make the steps of a curation, which says what is wrong with their settings. Measures: {columns: {name: type}}."""
    config: CurateConfig = arguments["config"]
    steps = _steps(
        arguments["run"], config.model_dump_json(), tuple(arguments["carried"].items()), arguments["taken_down"]
    )
    return {"columns": arguments["carried"] | columns_of(steps)}


@functools.lru_cache(maxsize=1)
def _steps(run: str, config: str, carried: tuple[tuple[str, str], ...], taken_down: tuple[str, ...]) -> list[Step]:
    """The steps of a curation, made once in a worker and not again for each of its shards."""
    steps = make_steps(CurateConfig.model_validate_json(config), dict(carried), taken_down)
    gc.collect()
    gc.freeze()  # libraries and models stay: to look through them for garbage took a tenth of the time of extraction
    return steps


def forget_steps() -> None:
    """Let go of models that were loaded in this very process."""
    _steps.cache_clear()
    gc.unfreeze()


@dataclass
class _Mapper:
    config: CurateConfig
    source: Source
    piece: Piece
    steps: list[Step]
    advice: Advice
    counts: dict[str, StageCounts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.parts = _files_alone(self.source, self.piece)
        self.counts = {name: StageCounts() for name in (READ, *(step.name for step in self.steps))}

    def documents(self, journal: Journal) -> Iterator[Document]:
        """Every document of the piece, in order, with its fate."""
        batch: list[Document] = []
        size = first = 0
        for number, document in enumerate(self._read(journal), 1):
            batch.append(document)
            size += len(document.text or "") + len(document.data or b"")
            if len(batch) == BATCH_DOCUMENTS or size >= BATCH_BYTES:
                yield from self._work_on(batch, first, journal)
                batch, size, first = [], 0, number
        yield from self._work_on(batch, first, journal)

    def _read(self, journal: Journal) -> Iterator[Document]:
        """The documents as read; what is no text is left out here already."""
        counts = self.counts[READ]
        for number, part in enumerate(self.parts):
            found = self._part(number, part, journal)
            while True:
                began = time.process_time()
                document = next(found, None)
                counts.cpu_s += time.process_time() - began
                if document is None:
                    break
                document.license = document.license or self.source.declared_license
                document.language = document.language or self.source.declared_language
                _leave_out_what_is_no_text(document, self.config.largest_document)
                counts.add(document, READ)
                yield document

    def _part(self, number: int, part: Piece, journal: Journal) -> Iterator[Document]:
        end, how = self.advice.unreadable.get(number, (None, ""))
        found = read(self.source, part, Limits(self.config.largest_document))
        place = 0
        while True:
            journal.at(READING, number, place)
            if place == end:
                yield self._crashed(part, place, how)
                return
            try:
                item = next(found, None)
            except BedplateError:
                raise
            except Exception as error:  # of a library, at a file that was made to break it
                item = self._broken(part, place, error)
                found = iter(())
            if item is None:
                return
            place += 1
            yield self._document(item, part) if isinstance(item, Failure) else item

    def _broken(self, part: Piece, place: int, error: Exception) -> Failure:
        """What a reader raised where it should have told. What follows in its file isn't read."""
        file = part.files[0]
        return Failure(
            f"{file.name}#{part.before + place + 1}",
            file.place,
            "reader_error",
            f"{type(error).__name__}: {error}"[:300] + "; what follows in this file isn't read",
            "Take the file out, or set on_error=skip to count it as failed and go on.",
            bytes=part.bytes,
        )

    def _crashed(self, part: Piece, place: int, how: str) -> Document:
        """The record of a part at which two processes died that read it. What follows it in its file isn't read."""
        file = part.files[place if self.source.git is not None else 0]
        record = part.before + place + 1
        if self.config.on_error == "stop" and not self.source.tolerant:
            raise InputError(
                f"{file.place} record {record}: reading it {how}, each time that it was tried",
                "Take an undamaged copy, or set on_error=skip to count it as failed, with what follows in its file.",
            )
        document = Document(f"{file.name}#{record}", None, bytes=part.bytes)
        document.fail(READ, "crashed", f"reading it {how}; what follows in its file isn't read")
        return document

    def _document(self, failure: Failure, part: Piece) -> Document:
        if self.config.on_error == "stop" and not self.source.tolerant:
            raise InputError(f"{failure.place}: {failure.problem}", failure.fix)
        document = Document(failure.source, None, bytes=failure.bytes)
        place = failure.place
        for file in part.files:  # never an absolute path: the corpus is to be the same wherever it is made
            place = place.replace(file.place, file.name)
        document.fail(READ, failure.reason, f"{place}: {failure.problem}")
        return document

    def _work_on(self, batch: list[Document], first: int, journal: Journal) -> list[Document]:
        journal.at(TOGETHER, 0, first)
        if self.advice.one_by_one(first):
            for place, document in enumerate(batch, first):
                if (how := self.advice.lost.get(place)) is not None:
                    if document.alive:
                        name = self.steps[0].name if self.steps else READ
                        document.fail(name, "crashed", f"working on it {how}")
                        self.counts[name].add(document, name)
                    continue
                journal.at(ALONE, 0, place)
                self._steps([document])
        else:
            self._steps(batch)
        journal.at(WRITING, 0, first)
        return batch

    def _steps(self, batch: list[Document]) -> None:
        for step in self.steps:
            alive = [document for document in batch if document.alive]
            counts = self.counts[step.name]
            began = time.process_time()
            _guarded(step, alive)
            counts.cpu_s += time.process_time() - began
            for document in alive:
                if document.alive and document.data is None and not (document.text or "").strip():
                    document.drop(step.name, "empty")
                counts.add(document, step.name)


def _files_alone(source: Source, piece: Piece) -> list[Piece]:
    """The piece file by file, so that one that ends the process takes no other with it."""
    if len(piece.files) == 1 or source.git is not None:
        return [piece]
    return [Piece((file,), file.bytes) for file in piece.files]


def _guarded(step: Step, documents: list[Document]) -> None:
    """The step over the documents; one on which it breaks is failed, and harms no other."""
    before = [_state(document) for document in documents]
    try:
        step(documents)
        return
    except BedplateError:
        raise
    except Exception as error:
        problem = error
    for document, as_it_was in zip(documents, before, strict=True):
        vars(document).update(as_it_was)
    if len(documents) == 1:
        documents[0].fail(step.name, "error", f"{type(problem).__name__}: {problem}"[:500])
        return
    for document in documents:
        _guarded(step, [document])


def _state(document: Document) -> dict[str, Any]:
    return vars(document) | {"columns": dict(document.columns), "metadata": dict(document.metadata)}


def _leave_out_what_is_no_text(document: Document, largest: int) -> None:
    if not document.alive or document.text is None:
        return
    text = document.text
    if not text.strip():
        document.drop(READ, "empty")
    elif "\0" in text:
        document.drop(READ, "not_text")
    elif len(text) > largest or 4 * len(text) > largest:
        try:
            if len(text.encode()) > largest:
                document.drop(READ, "too_large")
        except UnicodeEncodeError:
            document.drop(READ, "not_text")
    elif not _encodable(text):
        document.drop(READ, "not_text")


def _encodable(text: str) -> bool:
    """Whether UTF-8 can spell it: JSON can spell half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def merged_counts(measures: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The tasks' counts, added up stage by stage."""
    return merge([measure["stages"] for measure in measures])
