"""What somebody who mistyped a name probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name nearest to `word`, or None if none is near."""
    by_fold = {name.lower().replace("_", "-"): name for name in known}
    found = difflib.get_close_matches(word.lower().replace("_", "-"), by_fold, n=1, cutoff=0.6)
    return by_fold[found[0]] if found else None


def expected_one_of(word: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: "expected one of a, b; nearest: a"."""
    names = list(known)
    listed = ", ".join(names) if names else "none"
    near = nearest(word, names)
    return f"expected one of {listed}" + (f"; nearest: {near}" if near else "")
