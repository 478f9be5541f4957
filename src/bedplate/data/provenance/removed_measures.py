"""The measures of a corpus that something was taken out of.

What it has is counted anew from its rows. What its stages, joint steps and search for evaluations found and did is
theirs to say, of the documents that there were then: `stages`, `joint` and `decontaminate` stay as they were.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedplate.data.provenance.finding import rows_of
from bedplate.data.provenance.origin import REMOVE_STAGE
from bedplate.data.provenance.taken_down import REASON
from bedplate.data.synthetic_share import SPLITS, SyntheticShare

if TYPE_CHECKING:
    from bedplate.ledger import Artefact

_COUNTED = ("split", "license", "language", "label", "domain")
_MOST_DOMAINS = 1000
UNKNOWN = "unknown"


class Remaining:
    """What the parts in a folder hold. Raises ArtefactError for a damaged one."""

    def __init__(self, folder: Path) -> None:
        self.documents = {name: Counter[str]() for name in _COUNTED}
        self.bytes = {name: Counter[str]() for name in _COUNTED}
        self.terms: dict[str, set[str]] = {}
        """The licences of each label's documents."""
        self.synthetic = SyntheticShare()
        for path in sorted(folder.glob("part-*.parquet")):
            for row in rows_of(path, (*_COUNTED, "bytes", "synthetic", "copies")):
                for name in _COUNTED:
                    value = row[name] if row[name] is not None else UNKNOWN
                    self.documents[name][value] += 1
                    self.bytes[name][value] += row["bytes"]
                self.terms.setdefault(row["label"], set()).add(row["license"] or UNKNOWN)
                self.synthetic.add(row)

    @property
    def count(self) -> int:
        """Documents."""
        return self.documents["split"].total()


def measures_without(corpus: Artefact, gone: list[dict[str, Any]], left: Remaining, cpu_s: float) -> dict[str, Any]:
    """The corpus's measures without the rows that are gone: the counts of the whole add up as before."""
    old = corpus.measures
    dropped = Counter(old.get("dropped", {}))
    dropped[REASON] += len(gone)
    domains = {name: count for name, count in left.documents["domain"].items() if name != UNKNOWN}
    return {
        **old,
        "read": old.get("read", left.count + len(gone)),
        "kept": left.count,
        "dropped": dict(sorted(dropped.items())),
        "failed": old.get("failed", {}),
        "stages": {**old.get("stages", {}), REMOVE_STAGE: _stage(old, len(gone), left.count, cpu_s)},
        "documents": {split: left.documents["split"][split] for split in SPLITS},
        "bytes": {split: left.bytes["split"][split] for split in SPLITS},
        "licenses": dict(sorted(left.documents["license"].items())),
        "languages": dict(sorted(left.documents["language"].items())),
        "domains": dict(sorted(domains.items(), key=lambda entry: (-entry[1], entry[0]))[:_MOST_DOMAINS]),
        "sources": _sources(old, gone, left),
        "synthetic": left.synthetic.measures(),
    }


def _stage(old: dict[str, Any], gone: int, left: int, cpu_s: float) -> dict[str, Any]:
    """This stage's counts, with those of earlier removals."""
    before = old.get("stages", {}).get(REMOVE_STAGE)
    return {
        "read": before["read"] if before else left + gone,
        "kept": left,
        "dropped": {REASON: gone + (before["dropped"].get(REASON, 0) if before else 0)},
        "failed": {},
        "cpu_s": cpu_s + (before["cpu_s"] if before else 0.0),
    }


def _sources(old: dict[str, Any], gone: list[dict[str, Any]], left: Remaining) -> dict[str, Any]:
    by_label = Counter(row["label"] for row in gone)
    terms: dict[str, set[str]] = {label: set(found) for label, found in left.terms.items()}
    for row in gone:
        terms.setdefault(row["label"], set()).add(row["license"] or UNKNOWN)
    sources = {}
    for label, counts in old.get("sources", {}).items():
        n = by_label[label]
        changed = {"kept": counts["kept"] - n, "dropped": counts["dropped"] + n} if "dropped" in counts else {}
        # A label that came with another corpus has the licences of its documents, all others the one declared.
        if label in left.terms and counts.get("license") == _joined(terms[label]):
            changed["license"] = _joined(left.terms[label])
        sources[label] = {**counts, **changed, "bytes": left.bytes["label"][label]}
    return sources


def _joined(terms: set[str]) -> str:
    return ", ".join(sorted(terms))
