"""Fill-in-the-middle rows: documents rearranged so that a middle is told after what stands before and behind it
(Bavarian et al., arXiv 2207.14255, at the level of contexts, their section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt

from bedplate.data.draws import uniform
from bedplate.data.packing import Rows
from bedplate.data.row_sources import RowSource
from bedplate.errors import InputError

Ids = npt.NDArray[np.int64]
KEYS = ("tokens", "targets", "segments", "positions", "keep")


class Pieces(Protocol):
    """Text <-> tokens, as `codecs.TextTokenizer` has it."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


@dataclass(frozen=True)
class FimTokens:
    """The ids of the sentinels that come before each part, and of the boundary between documents."""

    prefix: int
    suffix: int
    middle: int
    boundary: int

    def arranged(self, prefix: Ids, middle: Ids, suffix: Ids, *, suffix_first: bool) -> Ids:
        """PSM: <prefix> prefix <suffix> suffix <middle> middle.

        SPM: <prefix> <suffix> suffix <middle> prefix middle.
        """
        before, behind, between = (np.array([i], dtype=np.int64) for i in (self.prefix, self.suffix, self.middle))
        if suffix_first:
            return np.concatenate([before, behind, suffix, between, prefix, middle])
        return np.concatenate([before, prefix, behind, suffix, between, middle])


class FimRows:
    """Rows of `source`, next-token rows as `data.packing` makes them, in which a share `rate` of the segments is
    rearranged: cut at two random places into prefix, middle and suffix, with the middle moved to the end and a boundary
    behind it. Of these a share `suffix_first` is SPM and the others PSM. They stay next-token rows.

    length: places of a row; what it has more than the source's rows is room for sentinels: 4 places a segment, and
    where `pieces` is given, some for tokens that are cut. Segments for which no room is left stay as they are, and room
    that is left is padding with `keep` false, so nothing of a text is lost; `valid` says which places exist. pieces:
    cut between characters, the three parts encoded anew as they will be when the model is asked to fill in; between
    tokens where None. A segment whose text isn't whole (it begins inside a character) stays as it is then. Row r is a
    pure function of (source rows, seed, r).
    """

    def __init__(
        self,
        source: RowSource,
        seed: int,
        *,
        length: int,
        tokens: FimTokens,
        rate: float = 0.5,
        suffix_first: float = 0.5,
        pieces: Pieces | None = None,
    ) -> None:
        for name, share in (("rate", rate), ("suffix_first", suffix_first)):
            if not 0 <= share <= 1:
                raise InputError(f"fill-in-the-middle: {name} {share}", "Use a share from 0 to 1.")
        self.source, self.seed, self.length, self.tokens = source, seed, length, tokens
        self.rate, self.suffix_first, self.pieces = rate, suffix_first, pieces

    def rows(self, first: int, count: int) -> Rows:
        """Rows [first, first + count), as many as the source has, each of `length` places."""
        source = self.source.rows(first, count)
        found, width = source["tokens"].shape
        if width > self.length:
            raise InputError(
                f"fill-in-the-middle: rows of {width} tokens in rows of {self.length}",
                "Give the source shorter rows, with room for the sentinels.",
            )
        draws = uniform(self.seed, "fim", first, found, 4 * width).reshape(found, 4, width)
        rows = [self._row({key: source[key][i] for key in KEYS}, draws[i]) for i in range(found)]
        made = {key: np.stack([row[key] for row in rows]) for key in KEYS}
        return made | {"valid": made["keep"]}  # of packed rows all that exists is kept

    def _row(self, row: Rows, draws: npt.NDArray[np.float64]) -> Rows:
        width = len(row["tokens"])
        edges = np.flatnonzero(np.diff(row["segments"], prepend=-1, append=-1))
        pairs = [(row["tokens"][a:b], row["targets"][a:b]) for a, b in pairwise(edges)]
        keeps = [row["keep"][a:b] for a, b in pairwise(edges)]
        chance, kind, one, other = draws[:, : len(pairs)]
        low, high = np.minimum(one, other), np.maximum(one, other)
        room = self.length - width
        for i in np.argsort(chance, kind="stable"):  # in random order, lest the first take all the room
            if chance[i] >= self.rate or not keeps[i].all():
                continue
            inputs, targets = pairs[i]
            made = self._rearranged(inputs, targets, kind[i] < self.suffix_first, low[i], high[i])
            if made is not None and len(made) - 1 - len(keeps[i]) <= room:
                room -= len(made) - 1 - len(keeps[i])
                pairs[i] = made[:-1], made[1:]
                keeps[i] = np.ones(len(made) - 1, dtype=bool)
        if room:
            filler = np.full(room, self.tokens.boundary, dtype=np.int64)
            pairs.append((filler, filler))
            keeps.append(np.zeros(room, dtype=bool))
        sizes = [len(keep) for keep in keeps]
        return {
            "tokens": np.concatenate([inputs for inputs, _ in pairs]),
            "targets": np.concatenate([targets for _, targets in pairs]),
            "segments": np.repeat(np.arange(len(sizes)), sizes),
            "positions": np.concatenate([np.arange(size) for size in sizes]),
            "keep": np.concatenate(keeps),
        }

    def _rearranged(self, inputs: Ids, targets: Ids, suffix_first: bool, low: float, high: float) -> Ids | None:
        """The segment's tokens in their new order; None where it has to stay as it is."""
        whole = np.concatenate([inputs[:1], targets])
        begin = int(whole[0] == self.tokens.boundary)
        end = len(whole) - int(len(whole) > begin and whole[-1] == self.tokens.boundary)
        parts = self._parts(whole[begin:end], low, high)
        if parts is None:
            return None
        arranged = self.tokens.arranged(*parts, suffix_first=suffix_first)
        return np.concatenate([whole[:begin], arranged, np.array([self.tokens.boundary], dtype=np.int64)])

    def _parts(self, body: Ids, low: float, high: float) -> tuple[Ids, Ids, Ids] | None:
        """Prefix, middle and suffix; low, high: where the cuts are, as shares."""
        if not len(body):
            return None
        if self.pieces is None:
            a, b = int(low * (len(body) + 1)), int(high * (len(body) + 1))
            return body[:a], body[a:b], body[b:]
        text = self.pieces.decode(body.tolist())
        a, b = int(low * (len(text) + 1)), int(high * (len(text) + 1))
        parts = [self.pieces.encode(part) for part in (text[:a], text[a:b], text[b:])]
        # Not so where the segment begins or ends inside a character, or the tokenizer doesn't give back what it took.
        if "\ufffd" in text or "".join(self.pieces.decode(part) for part in parts) != text:
            return None
        prefix, middle, suffix = (np.array(part, dtype=np.int64) for part in parts)
        return prefix, middle, suffix
