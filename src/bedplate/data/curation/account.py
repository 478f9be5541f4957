"""What became of every document at every stage: read = kept + dropped + failed, or the stage fails by our fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bedplate.data.documents import Document
from bedplate.errors import InternalError


@dataclass
class StageCounts:
    """One stage's. What leaves the stage is counted by `add`, once each."""

    read: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    cpu_s: float = 0.0

    def add(self, document: Document, stage: str) -> None:
        """A document that was alive has been through the stage."""
        self.read += 1
        if document.alive:
            self.kept += 1
            return
        if document.stage != stage:
            raise InternalError(f"{document.source}: left out by {document.stage}, and then seen by {stage}")
        (self.dropped if document.status == "dropped" else self.failed)[document.reason or "unknown"] += 1

    def measures(self) -> dict[str, Any]:
        """The counts for the manifest."""
        return {
            "read": self.read,
            "kept": self.kept,
            "dropped": dict(sorted(self.dropped.items())),
            "failed": dict(sorted(self.failed.items())),
            "cpu_s": self.cpu_s,
        }


def merge(parts: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The counts of several tasks added up: {stage: counts}, stages in the order of the first."""
    total: dict[str, StageCounts] = {}
    for part in parts:
        for name, counts in part.items():
            stage = total.setdefault(name, StageCounts())
            stage.read += counts["read"]
            stage.kept += counts["kept"]
            stage.dropped.update(counts["dropped"])
            stage.failed.update(counts["failed"])
            stage.cpu_s += counts["cpu_s"]
    return {name: stage.measures() for name, stage in total.items()}


def check_balance(stages: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise InternalError unless each stage's counts add up and each reads what the one before it kept."""
    before: int | None = None
    for name, counts in stages.items():
        gone = sum(counts["dropped"].values()) + sum(counts["failed"].values())
        if counts["read"] != counts["kept"] + gone or (before is not None and counts["read"] != before):
            raise InternalError(
                f"documents lost: {name} read {counts['read']} (of {before}), kept {counts['kept']}, left out {gone}"
            )
        before = counts["kept"]
