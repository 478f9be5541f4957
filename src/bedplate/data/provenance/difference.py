"""`data diff`: what one version of a corpus has that another hasn't, by source and by reason.

Documents are told by the sha256 of their texts, and a document whose text changed by its source name: so a source
name that both versions have with different texts is "changed", whichever of them was edited.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedplate.data.corpus import DROPPED
from bedplate.data.provenance.finding import tables
from bedplate.ledger import Artefact


@dataclass
class Side:
    """Documents, and their bytes as UTF-8."""

    documents: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        self.documents += 1
        self.bytes += size


@dataclass
class Difference:
    """What became of documents between corpus A and corpus B, by source label.

    reasons: why documents that only A has aren't in B, as B's table of what it left out says ("not read" where it
    doesn't name them), {reason: documents}. came_back: why A had left out what only B has.
    """

    same: Side = field(default_factory=Side)
    added: dict[str, Side] = field(default_factory=lambda: defaultdict(Side))
    removed: dict[str, Side] = field(default_factory=lambda: defaultdict(Side))
    changed: dict[str, Side] = field(default_factory=lambda: defaultdict(Side))
    reasons: Counter[str] = field(default_factory=Counter)
    came_back: Counter[str] = field(default_factory=Counter)
    moved: Counter[str] = field(default_factory=Counter)
    """Documents of both whose split differs: {"train -> validation": n}."""

    def facts(self) -> dict[str, Any]:
        """As JSON."""

        def sides(of: dict[str, Side]) -> dict[str, Any]:
            return {label: vars(side) for label, side in sorted(of.items())}

        return {
            "same": vars(self.same),
            "added": sides(self.added),
            "removed": sides(self.removed),
            "changed": sides(self.changed),
            "removed_because": dict(self.reasons.most_common()),
            "added_although": dict(self.came_back.most_common()),
            "moved": dict(self.moved.most_common()),
        }


def difference(a: Artefact, b: Artefact) -> Difference:
    """What B has that A hasn't, and the other way round.

    Memory: about 150 bytes a document of both. Raises ArtefactError for a damaged file.
    """
    result = Difference()
    ours = {row["sha256"]: row for row in _rows(a)}
    names = {row["source"]: row for row in ours.values()}
    added, seen, edited = [], set(), set()
    for row in _rows(b):
        old = ours.get(row["sha256"])
        if old is not None:
            seen.add(row["sha256"])
            result.same.add(row["bytes"])
            if old["split"] != row["split"]:
                result.moved[f"{old['split']} -> {row['split']}"] += 1
        elif row["source"] in names:
            edited.add(names[row["source"]]["sha256"])
            result.changed[row["label"]].add(row["bytes"])
        else:
            added.append(row)
    removed = [row for sha256, row in ours.items() if sha256 not in seen and sha256 not in edited]
    for row in added:
        result.added[row["label"]].add(row["bytes"])
    for row in removed:
        result.removed[row["label"]].add(row["bytes"])
    result.reasons = _why(b, removed, otherwise="not read")
    result.came_back = _why(a, added, otherwise="new")
    return result


def _rows(corpus: Artefact) -> Iterator[dict[str, Any]]:
    for path in tables(corpus):
        if path.name != f"{DROPPED}.parquet":
            yield from _columns(path, ("sha256", "source", "label", "bytes", "split"))


def _why(corpus: Artefact, rows: list[dict[str, Any]], *, otherwise: str) -> Counter[str]:
    """Why these documents of another version aren't in a corpus."""
    hashes = {row["sha256"]: row["source"] for row in rows}
    sources = {row["source"]: row["sha256"] for row in rows}
    reasons: dict[str, str] = {}
    if rows and (path := corpus.path / f"{DROPPED}.parquet").is_file():
        for row in _columns(path, ("sha256", "source", "reason")):
            if row["sha256"] in hashes:
                reasons[row["sha256"]] = row["reason"]
            elif row["source"] in sources:
                reasons.setdefault(sources[row["source"]], row["reason"])
    return Counter(reasons.get(sha256, otherwise) for sha256 in hashes)


def _columns(path: Path, names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        present = [name for name in names if name in file.schema_arrow.names]
        for batch in file.iter_batches(batch_size=16_384, columns=present):
            for row in batch.to_pylist():
                yield {name: row.get(name) for name in names} | {"label": row.get("label") or ""}
