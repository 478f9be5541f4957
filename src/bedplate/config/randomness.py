"""Named random generators: every random choice has a seed of its own, made from the run's seed and a name."""

from __future__ import annotations

import hashlib
import json


def fold_in(seed: int, *names: str | int) -> int:
    """A seed in [0, 2**63) that depends on `seed` and every name, and on nothing else.

    Different names give independent streams, so adding a random choice in one place moves none elsewhere. The number
    1 and the string "1" are different names, and ("ab", "c") differs from ("a", "bc").
    """
    text = json.dumps([seed, *names], separators=(",", ":"), ensure_ascii=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
