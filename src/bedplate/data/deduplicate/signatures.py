"""MinHash signatures (Broder 1997): of two texts, the share of equal numbers estimates their Jaccard similarity."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bedplate.config import fold_in
from bedplate.data.deduplicate.config import ShingleConfig
from bedplate.data.deduplicate.shingles import I64, PIECE, U8, U32, U64, Bool, Shingler, mixed, pieces

NONE = np.uint32(0xFFFFFFFF)
"""What an unsigned document has everywhere, before it is left out."""


class Signer:
    """Signs texts: the least value of every hash function over a text's shingles.

    The functions are a * x + b mod 2**32 with odd a, over shingles that are already well mixed; 32 bits are enough, as
    signatures are compared number by number, and a band's key is made of several.
    """

    def __init__(self, config: ShingleConfig, hashes: int) -> None:
        self.hashes = hashes
        self._shingle = Shingler(config)
        random = np.random.PCG64(fold_in(config.seed, "minhash")).random_raw(2 * hashes)
        high = (random >> np.uint64(32)).astype(np.uint32)
        self._factors, self._terms = high[:hashes] | np.uint32(1), high[hashes:]

    def __call__(self, text: U8, offsets: I64) -> tuple[U32, Bool]:
        """Signatures [N, hashes] and which documents have one: those with as many units as a shingle, bool [N].

        text: UTF-8, of which document i has offsets[i] to offsets[i + 1].
        """
        signatures = np.full((len(offsets) - 1, self.hashes), NONE, dtype=np.uint32)
        signed = np.zeros(len(offsets) - 1, dtype=bool)
        cuts, owners = pieces(text, offsets)
        first = 0
        while first < len(owners):
            end = max(first + 1, int(np.searchsorted(cuts, cuts[first] + PIECE, side="right")) - 1)
            shingles, sizes = self._shingle(text, cuts[first : end + 1])
            some = np.flatnonzero(sizes)
            if len(some):
                at = owners[first + some]
                least = self._least(shingles, np.cumsum(sizes)[some] - sizes[some])
                if len(np.unique(at)) == len(at):
                    signatures[at] = np.minimum(signatures[at], least)
                else:
                    np.minimum.at(signatures, at, least)
                signed[at] = True
            first = end
        return signatures, signed

    def _least(self, shingles: U32, begins: I64) -> U32:
        """The least value of each function over each document's shingles, [documents, hashes]."""
        least = np.empty((self.hashes, len(begins)), dtype=np.uint32)
        values = np.empty_like(shingles)
        for i in range(self.hashes):
            np.multiply(shingles, self._factors[i], out=values)
            np.add(values, self._terms[i], out=values)
            np.minimum.reduceat(values, begins, out=least[i])
        return least.T


def band_keys(signatures: U32, bands: int, rows: int, seed: int) -> U64:
    """A key of 64 bits for every band, [N, bands], of the first bands * rows numbers of signatures [N, hashes].

    Two documents share the key of a band where its numbers are equal, and otherwise with a chance of 2**-64.
    """
    random = np.random.PCG64(fold_in(seed, "bands")).random_raw(bands * (rows + 1)).reshape(bands, rows + 1)
    keys = np.broadcast_to(random[:, rows], (len(signatures), bands)).copy()
    numbers = signatures[:, : bands * rows].reshape(len(signatures), bands, rows)
    for j in range(rows):
        keys += numbers[:, :, j].astype(np.uint64) * (random[:, j] | np.uint64(1))
    return mixed(keys)


def agreement(a: U32, b: U32) -> npt.NDArray[np.float64]:
    """The share of equal numbers in pairs of signatures [N, hashes]: an unbiased estimate of Jaccard similarity J, of
    standard deviation sqrt(J (1 - J) / hashes)."""
    return np.count_nonzero(a == b, axis=1) / a.shape[1]
