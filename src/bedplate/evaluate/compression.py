"""General compressors as baselines: what gzip and xz need for the held-out documents.

Both are at their level 9 (xz's plain preset 9, without the "extreme" flag) and write their usual containers, whose
headers count: that is the size that a file would have. They start from nothing: unlike a model or an n-gram table
they have seen no training text, which per document is a handicap that grows as documents get shorter. Concatenated,
each document helps with the next ones.
"""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip -9": lambda data: gzip.compress(data, compresslevel=9, mtime=0),
    "xz -9": lambda data: lzma.compress(data, format=lzma.FORMAT_XZ, preset=9),
}


@dataclass(frozen=True)
class Compressed:
    """bits [documents]: each document compressed alone; `concatenated_bits`: all of them, in order, as one."""

    name: str
    bits: NDArray[np.float64]
    concatenated_bits: float


def compress(texts: Sequence[str]) -> list[Compressed]:
    """Compressed sizes of the UTF-8 bytes of `texts` by every compressor."""
    documents = [text.encode("utf-8") for text in texts]
    joined = b"".join(documents)
    return [
        Compressed(
            name=name,
            bits=np.array([8.0 * len(squeeze(document)) for document in documents]),
            concatenated_bits=8.0 * len(squeeze(joined)),
        )
        for name, squeeze in COMPRESSORS.items()
    ]
