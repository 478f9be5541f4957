"""The families of signals of many texts: `measure`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bedplate.data.signals.columns import ALL_COLUMNS, FAMILIES, FAMILY_COLUMNS, Family
from bedplate.data.signals.hashing import Ints
from bedplate.data.signals.mentions import mentions
from bedplate.data.signals.quality import quality, statistics
from bedplate.data.signals.repetition import repetition
from bedplate.data.signals.texts import Floats, Texts
from bedplate.data.signals.web import c4, fineweb

AT_ONCE = 1 << 17
"""Characters: so many that numpy's calls cost little, so few that their arrays stay in the processor's cache."""

Numbers = list[int] | list[float]


def measure(texts: Sequence[str], families: Sequence[Family], *, longest: int = 1 << 20) -> dict[str, Numbers]:
    """The columns of these families, a number for each text. Fractions are rounded to float32, as they are stored.

    A text of more than `longest` characters is measured by its first ones; `characters` counts all. Takes time
    in proportion to the text and up to 160 bytes of memory a character of the longest one. A text with nothing in it
    has 0 everywhere.
    """
    names = [name for family in FAMILIES if family in families for name in FAMILY_COLUMNS[family]]
    columns: dict[str, Numbers] = {name: [] for name in names}
    for some in _together([text[:longest] for text in texts]):
        measured = _measure(some, families)
        for name, numbers in columns.items():
            if name != "characters":
                values = measured[name]
                stored = values.astype(np.float32) if ALL_COLUMNS[name] == "float32" else values
                numbers.extend(stored.tolist())
    if "characters" in columns:
        columns["characters"] = [len(text) for text in texts]
    return columns


def _measure(some: Sequence[str], families: Sequence[Family]) -> dict[str, Ints | Floats]:
    texts = Texts(some)
    measured: dict[str, Ints | Floats] = {}
    if "characters" in families:
        measured |= statistics(texts)
    if "quality" in families:
        measured |= quality(texts)
    if "repetition" in families:
        measured |= repetition(texts)
    if "c4" in families:
        measured |= c4(texts, some)
    if "fineweb" in families:
        measured |= fineweb(texts)
    if "mentions" in families:
        measured |= mentions(texts)
    return measured


def _together(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts in order, a few at a time."""
    some: list[str] = []
    length = 0
    for text in texts:
        if some and length + len(text) > AT_ONCE:
            yield some
            some, length = [], 0
        some.append(text)
        length += len(text)
    if some:
        yield some
