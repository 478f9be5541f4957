"""Random numbers for rows: each row's are a function of (seed, what for, row) alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bedplate.config import fold_in


def uniform(seed: int, name: str, first: int, count: int, width: int) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1), [count, width]: row i is that of row first + i. From raw random words, whose streams numpy
    keeps stable for ever (NEP 19)."""
    words = np.empty((count, width), dtype=np.uint64)
    for i in range(count):
        words[i] = np.random.PCG64(fold_in(seed, name, first + i)).random_raw(width)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
