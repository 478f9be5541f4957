"""Hashes of many slices of one array at once: equal slices have equal hashes, wherever they stand.

A polynomial modulo 2^64 whose base is odd, hence invertible: the sum over a slice is a difference of prefix sums, and
dividing by the power of where it begins makes it independent of the place. Finished with SplitMix64 (Steele et al.
2014, doi 10.1145/2714064.2660195). Different slices of ordinary text share a hash about once in 2^64 pairs; texts made
to collide can, which costs no more than a repetition seen where there is none.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]

_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
_BLOCK = 1 << 16


def mix(values: Hashes) -> Hashes:
    """SplitMix64's last step: [N] -> [N], one to one."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class Slices:
    """Hashes of slices of `values` [N], an array of unsigned integers."""

    def __init__(self, values: NDArray[np.uint32] | Hashes) -> None:
        self._sums = np.zeros(len(values) + 1, dtype=np.uint64)
        np.multiply(values, _powers(_BASE, len(values)), out=self._sums[1:])
        np.cumsum(self._sums, out=self._sums)

    def __call__(self, starts: Ints, ends: Ints) -> Hashes:
        """Of each slice [start, end), uint64."""
        sums = self._sums[ends] - self._sums[starts]
        return mix(sums * _power_at(_INVERSE, starts) + (ends - starts).astype(np.uint64))


def _power_at(base: int, exponents: Ints) -> Hashes:
    """base^exponent, from two small tables."""
    if not len(exponents) or int(exponents.max()) < _BLOCK:
        return _block(base)[exponents]
    far, near = np.divmod(exponents, _BLOCK)
    return _block(base)[near] * _powers(pow(base, _BLOCK, 1 << 64), int(far.max()) + 1)[far]


def _powers(base: int, count: int) -> Hashes:
    """base^0 .. base^(count - 1)."""
    if count <= _BLOCK:
        return _block(base)[:count]
    steps = _powers(pow(base, _BLOCK, 1 << 64), -(-count // _BLOCK))
    return (steps[:, None] * _block(base)).reshape(-1)[:count]


@lru_cache(maxsize=8)
def _block(base: int) -> Hashes:
    made = np.full(_BLOCK, base, dtype=np.uint64)
    made[0] = 1
    return np.cumprod(made)
