"""How much of a corpus a model wrote, as its rows say."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

SPLITS = ("train", "validation")


class SyntheticShare:
    """Counts of the rows whose `synthetic` isn't null."""

    def __init__(self) -> None:
        self._documents, self._bytes, self._generators = Counter[str](), Counter[str](), Counter[str]()

    def add(self, synthetic: str | None, split: str, size: int) -> None:
        """A row: its `synthetic`, split and bytes."""
        if synthetic is not None:
            self._documents[split] += 1
            self._bytes[split] += size
            self._generators[generator_of(synthetic)] += 1

    def measures(self) -> dict[str, Any]:
        """{documents: by split, bytes: by split, generators: documents by what wrote them}."""
        return {
            "documents": {split: self._documents[split] for split in SPLITS},
            "bytes": {split: self._bytes[split] for split in SPLITS},
            "generators": dict(sorted(self._generators.items())),
        }


def generator_of(synthetic: str) -> str:
    """What wrote a document, by its row's mark; "unknown" where that doesn't say."""
    try:
        mark = json.loads(synthetic)
    except ValueError:
        return "unknown"
    return str(mark.get("generator") or "unknown") if isinstance(mark, dict) else "unknown"
