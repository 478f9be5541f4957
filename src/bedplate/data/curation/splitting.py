"""The split of a document: a pure function of what it is called by, so that no run and no neighbour changes it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any


def split_of_row(row: Mapping[str, Any], validation: float, *, clustered: bool) -> str:
    """The split of a document: by its group if the source names one, by its cluster if there is one, else by itself.

    One that came out of a corpus stays in its split, unless clusters have been looked for since. A cluster is called by
    the hash of one of its texts, and goes where that one would go alone. Hashed, so that a group that is called by a
    document's hash isn't that document.
    """
    if row.get("split") and not clustered:
        return str(row["split"])
    if row.get("cluster") is not None:
        return split_of(row["cluster"], validation)
    return split_of(row["sha256"] if row.get("group") is None else f"group {row['group']}", validation)


def split_of(key: str, validation: float) -> str:
    """The split of what is called by this: the hash of a text, a group, a cluster. Not by its order or company."""
    draw = int.from_bytes(hashlib.sha256(f"validation split {key}".encode()).digest()[:8], "big") / 2**64
    return "validation" if draw < validation else "train"
