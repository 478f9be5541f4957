"""A SentencePiece normaliser's compiled table, checked before anything looks a character up in it.

Four bytes say how long the trie is; the trie is a double array of 32-bit units (Aoe, 1989; as `darts-clone` lays it
out), its leaves point into the texts behind it, each ended by a zero byte. `tokenizers` trusts every index in it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Units = npt.NDArray[np.int64]


def check_charsmap(table: bytes) -> None:
    """Raises ValueError unless every walk through the table stays inside it."""
    size = int.from_bytes(table[:4], "little")
    if len(table) < 8 or size < 4 or size % 4 or size > len(table) - 4:
        raise ValueError("its normaliser's table is cut short")
    units = np.frombuffer(table, dtype="<u4", count=size // 4, offset=4).astype(np.int64)
    texts = table[4 + size :]
    try:
        texts.decode()
    except UnicodeDecodeError as error:
        raise ValueError("its normaliser's texts aren't UTF-8") from error
    # Where a text may begin: at no byte that goes on with a character.
    begins = np.array([byte & 0xC0 != 0x80 for byte in texts] + [False], dtype=bool)
    seen = np.zeros(len(units), dtype=bool)
    letters = np.arange(1, 256)
    bases = _base(units[:1], np.zeros(1, dtype=np.int64))
    while len(bases):
        # Any letter may be looked up from here, and a trie's end is looked up without one.
        if int((bases | 0xFF).max()) >= len(units):
            raise ValueError("its normaliser's table points outside itself")
        places = (bases[:, None] ^ letters).reshape(-1)
        found = np.unique(places[(units[places] & 0x800000FF) == np.tile(letters, len(bases))])
        found = found[~seen[found]]
        seen[found] = True
        bases = _base(units[found], found)
        ends = bases[(units[found] >> 8 & 1).astype(bool)]
        if len(ends) and int(ends.max()) >= len(units):
            raise ValueError("its normaliser's table points outside itself")
        if not begins[np.minimum(units[ends] & 0x7FFFFFFF, len(texts))].all():
            raise ValueError("its normaliser's table points outside its texts")


def _base(units: Units, places: Units) -> Units:
    """Where the children of units are: their place changed by their offset, which has a longer form."""
    offsets = (units >> 10) << ((units & (1 << 9)) >> 6)
    bases: Units = places ^ (offsets & 0xFFFFFFFF)
    return bases
