"""By what records are told apart that say their own id: its hash, which masking leaves as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

RECORD_ID = "record_id"
"""A column of shards, not of a corpus."""


def record_id(metadata: Mapping[str, Any]) -> str | None:
    """SHA-256 of a document's own id, `metadata["id"]`, as text: 1 and "1" are one id. None where it has none."""
    own = metadata.get("id")
    return None if own is None else hashlib.sha256(str(own).encode(errors="surrogatepass")).hexdigest()
