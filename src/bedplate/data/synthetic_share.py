"""How much of a corpus a model wrote, as its rows say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

SPLITS = ("train", "validation")


class SyntheticShare:
    """Counts of the rows whose `synthetic` isn't null, and of what training sees."""

    def __init__(self) -> None:
        self._documents, self._bytes, self._generators = Counter[str](), Counter[str](), Counter[str]()
        self._seen = Counter[str]()

    def add(self, row: Mapping[str, Any]) -> None:
        """A row of the corpus: its `synthetic`, split, bytes and copies are looked at."""
        mark, split, size = row["synthetic"], row["split"], row["bytes"]
        seen = 0 if split != "train" else size * (row["copies"] or 1)
        self._seen["all"] += seen
        if mark is not None:
            self._seen["synthetic"] += seen
            self._documents[split] += 1
            self._bytes[split] += size
            self._generators[generator_of(mark)] += 1

    def measures(self) -> dict[str, Any]:
        """documents and bytes: of what a model wrote, by split; generators: documents by what wrote them; seen_bytes:
        of training documents, each as often as an epoch sees it, those that a model wrote and all of them."""
        return {
            "documents": {split: self._documents[split] for split in SPLITS},
            "bytes": {split: self._bytes[split] for split in SPLITS},
            "generators": dict(sorted(self._generators.items())),
            "seen_bytes": {which: self._seen[which] for which in ("synthetic", "all")},
        }


def generator_of(synthetic: str) -> str:
    """What wrote a document, by its row's mark; "unknown" where that doesn't say."""
    try:
        mark = json.loads(synthetic)
    except (ValueError, RecursionError):
        return "unknown"
    return str(mark.get("generator") or "unknown") if isinstance(mark, dict) else "unknown"
