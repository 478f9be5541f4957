"""C4's cleaning of a text line by line (Raffel et al. 2020, arXiv 1910.10683, section 2.2): `clean`."""

from __future__ import annotations

from bedplate.data.signals.web import (
    CITATION,
    LEAST_WORDS,
    LONGEST_WORD,
    POLICY_PHRASES,
    TERMINAL_MARKS,
)


def clean(text: str) -> tuple[str, int]:
    """The lines that C4 keeps, without notes (`[3]`, `[edit]`) and the white space around them, and how many lines that
    weren't blank were taken out."""
    kept, removed = [], 0
    for line in text.split("\n"):
        line = line.strip()
        if not line:
            continue
        bare = CITATION.sub("", line).rstrip()
        if _stays(line, bare):
            kept.append(bare)
        else:
            removed += 1
    return "\n".join(kept), removed


def _stays(line: str, bare: str) -> bool:
    words = line.split()
    low = line.lower()
    return (
        bare.endswith(tuple(TERMINAL_MARKS))
        and not bare.endswith("...")
        and len(words) >= LEAST_WORDS
        and max(map(len, words)) <= LONGEST_WORD
        and "javascript" not in low
        and not any(phrase in low for phrase in POLICY_PHRASES)
    )
