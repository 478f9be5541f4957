"""`data diff`: what one version of a corpus has that another hasn't, by source and by reason.

Documents are told by their ids, which are those of their texts and pictures before anything was cut out of them, and
where an id is gone by their source names. Of what both versions have, that with another text or picture is "changed",
whichever of them was edited.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bedplate.data.corpus import DROPPED
from bedplate.data.provenance.finding import rows_of, tables
from bedplate.data.tokens import DOCUMENTS
from bedplate.errors import ArtefactError
from bedplate.ledger import Artefact
from bedplate.ledger.usage import used_by


@dataclass
class Side:
    """Documents, their bytes as UTF-8, and their tokens where both versions have some."""

    documents: int = 0
    bytes: int = 0
    tokens: int = 0

    def add(self, size: int, tokens: int) -> None:
        self.documents += 1
        self.bytes += size
        self.tokens += tokens


Sides = dict[str, Side]


def _sides() -> Sides:
    return defaultdict(Side)


@dataclass
class Difference:
    """What became of documents between corpus A and corpus B, by source label.

    changed, changed_from: as B and as A has them. reasons: why documents that only A has aren't in B, as B's table of
    what it left out says ("not read" where it doesn't name them), by source, {source: {reason: documents}}. came_back:
    why A had left out what only B has ("new" where it never saw it).
    """

    same: Side = field(default_factory=Side)
    added: Sides = field(default_factory=_sides)
    removed: Sides = field(default_factory=_sides)
    changed: Sides = field(default_factory=_sides)
    changed_from: Sides = field(default_factory=_sides)
    reasons: dict[str, Counter[str]] = field(default_factory=dict)
    came_back: dict[str, Counter[str]] = field(default_factory=dict)
    moved: Counter[str] = field(default_factory=Counter)
    """Documents of both whose split differs: {"train -> validation": n}."""
    has_tokens: bool = False

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "same": self._side(self.same),
            "added": self._by_label(self.added),
            "removed": self._by_label(self.removed),
            "changed": self._by_label(self.changed),
            "changed_from": self._by_label(self.changed_from),
            "removed_because": {label: dict(why.most_common()) for label, why in sorted(self.reasons.items())},
            "added_although": {label: dict(why.most_common()) for label, why in sorted(self.came_back.items())},
            "moved": dict(self.moved.most_common()),
        }

    def _by_label(self, sides: Sides) -> dict[str, Any]:
        return {label: self._side(side) for label, side in sorted(sides.items())}

    def _side(self, side: Side) -> dict[str, int]:
        told = {"documents": side.documents, "bytes": side.bytes}
        return told | ({"tokens": side.tokens} if self.has_tokens else {})


class _Row(NamedTuple):
    id: str
    sha256: str
    picture: str | None
    source: str
    label: str
    split: str
    bytes: int

    def same(self, other: _Row) -> bool:
        """Whether both have the same text, and the same picture or none."""
        return (self.sha256, self.picture) == (other.sha256, other.picture)


def difference(a: Artefact, b: Artefact, tokens: tuple[Artefact, Artefact] | None = None) -> Difference:
    """What B has that A hasn't, and the other way round. tokens: artefacts made of the two, to count tokens by.

    Memory: about 300 bytes a document of A. Raises ArtefactError for a damaged file.
    """
    result = Difference(has_tokens=tokens is not None)
    of_a, of_b = ({}, {}) if tokens is None else (_lengths(tokens[0]), _lengths(tokens[1]))
    ours: dict[str, list[_Row]] = defaultdict(list)
    for row in _rows(a):
        ours[row.id].append(row)

    def both(old: _Row, row: _Row) -> None:
        if old.same(row):
            result.same.add(row.bytes, of_b.get(row.id, 0))
        else:
            result.changed[row.label].add(row.bytes, of_b.get(row.id, 0))
            result.changed_from[old.label].add(old.bytes, of_a.get(old.id, 0))
        if old.split != row.split:
            result.moved[f"{old.split} -> {row.split}"] += 1

    fresh = []
    for row in _rows(b):
        if there := ours.get(row.id):
            both(there.pop(_closest(there, row)), row)
        else:
            fresh.append(row)
    left = {row.source: row for rows in ours.values() for row in rows}
    added = []
    for row in fresh:
        if (before := left.pop(row.source, None)) is None:
            added.append(row)
        else:
            both(before, row)
    removed = list(left.values())
    for row in added:
        result.added[row.label].add(row.bytes, of_b.get(row.id, 0))
    for row in removed:
        result.removed[row.label].add(row.bytes, of_a.get(row.id, 0))
    result.reasons = _why(b, removed, otherwise="not read")
    result.came_back = _why(a, added, otherwise="new")
    return result


def tokens_of(corpus: Artefact, within: Path) -> Artefact | None:
    """A tokens artefact that was made from the corpus, looked for below `within`."""
    made = (user.artefact for user in used_by(corpus, within) if user.steps == 1)
    return next((artefact for artefact in made if artefact.kind == "tokens"), None)


def _rows(corpus: Artefact) -> Iterator[_Row]:
    for path in tables(corpus):
        if path.name != f"{DROPPED}.parquet":
            for row in rows_of(path, _Row._fields):
                yield _Row(**(row | {"label": row["label"] or ""}))


def _closest(rows: list[_Row], row: _Row) -> int:
    """Which of some documents of one id is this one: by source and text, else by one of them, else the last."""
    return max(range(len(rows)), key=lambda at: (rows[at].source == row.source, rows[at].same(row), at))


def _why(corpus: Artefact, rows: list[_Row], *, otherwise: str) -> dict[str, Counter[str]]:
    """Why these documents of another version aren't in a corpus, by their source's label."""
    ids = {row.id for row in rows}
    sources = {row.source for row in rows}
    by_source: dict[str, str] = {}
    by_id: dict[str, str] = {}
    if rows and (path := corpus.path / f"{DROPPED}.parquet").is_file():
        for gone in rows_of(path, ("id", "source", "reason")):
            if gone["source"] in sources:
                by_source[gone["source"]] = gone["reason"]
            if gone["id"] in ids:
                by_id[gone["id"]] = gone["reason"]
    told: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        told[row.label][by_source.get(row.source) or by_id.get(row.id) or otherwise] += 1
    return dict(told)


def _lengths(tokens: Artefact) -> Mapping[str, int]:
    """Tokens of each document, by id."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tokens.path / DOCUMENTS
    found: dict[str, int] = {}
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["id", "start", "end"]):
                ids, starts, ends = (batch.column(name).to_pylist() for name in ("id", "start", "end"))
                found.update((i, end - start) for i, start, end in zip(ids, starts, ends, strict=True))
    except (pa.ArrowException, OSError) as error:
        raise ArtefactError(f"{path}: not a whole Parquet file: {error}", "Make the tokens artefact again.") from error
    return found
