"""The split of a document: a pure function of what it is called by, so that no run and no neighbour changes it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any


def split_of_row(row: Mapping[str, Any], validation: float) -> str:
    """The split of a document: the one that it has, from the step that looks for clusters or else from the corpus that
    it came out of; by its group if the source names one; else by itself: by the hash of its text from before any stage
    that looks at all documents cut something out of it. What these stages see of other documents doesn't move it.

    Hashed, so that a group that is called by a document's hash isn't that document.
    """
    if row.get("split"):
        return str(row["split"])
    return split_of(row["sha256"] if row.get("group") is None else f"group {row['group']}", validation)


def split_of(key: str, validation: float) -> str:
    """The split of what is called by this: the hash of a text, a group, a cluster. Not by its order or company."""
    draw = int.from_bytes(hashlib.sha256(f"validation split {key}".encode()).digest()[:8], "big") / 2**64
    return "validation" if draw < validation else "train"
