"""Rows of whole examples for training: packed tightly, none cut, none seeing another, the assistant's tokens kept.

An example of n tokens gives the n - 1 pairs (input, target) of t1..tn-1 -> t2..tn; a pair is kept where its target is
supervised. Examples are packed into rows by best fit, the longest first (Johnson 1974: at most 11/9 of the fewest rows,
and a few): where they share a row each is a segment with positions of its own. What is left of a row is padding.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bedplate.codecs.chat_tokens import ChatTokens
from bedplate.config import fold_in
from bedplate.data.packing import Rows, check_rows, shuffled
from bedplate.errors import InputError

Ids = npt.NDArray[np.int64]
TooLong = Literal["refuse", "truncate"]


class ChatRows:
    """The endless stream of training rows: the packed rows of all examples, shuffled anew each epoch.

    Row r is a pure function of (examples, length, seed, r), and every example appears once an epoch. pad_id: the token
    in places that don't count. too_long: what to do with an example of more than `length` pairs; truncated ones lose
    their ends, and are counted in `measures`.

    Raises InputError naming the example where one is too long and refused, or has nothing supervised (any more).
    """

    def __init__(
        self,
        examples: Iterable[ChatTokens],
        length: int,
        seed: int,
        *,
        pad_id: int,
        too_long: TooLong = "refuse",
    ) -> None:
        self._examples = _Examples(examples, length, pad_id, too_long)
        self.length, self.seed = length, seed
        order = shuffled(len(self._examples.sizes), fold_in(seed, "examples"))
        self._packs = _best_fit(self._examples.sizes, order, length)
        self.rows_per_epoch: int = len(self._packs)
        self.pairs_per_epoch: int = int(self._examples.sizes.sum())
        """Places of an epoch that aren't padding."""
        self._shuffle = lru_cache(maxsize=2)(self._make_shuffle)  # a batch may touch two epochs

    def rows(self, first: int, count: int) -> Rows:
        """Rows [first, first + count).

        Returns tokens, targets, segments, positions int64 [count, length] and keep bool [count, length]. Segments
        number a row's examples from 0, padding coming last; positions count from 0 in every segment.
        """
        check_rows(first, count)
        return self._examples.rows([self._packs[self._pack(row)] for row in range(first, first + count)])

    def measures(self) -> dict[str, Any]:
        """What an epoch holds: examples, rows, tokens (pairs), supervised_tokens, padding (share of all places), and
        what was lost: truncated_examples, truncated_tokens and truncated_supervised_tokens; straddling_tokens, which
        were partly the assistant's, and plain_specials, special tokens typed into messages."""
        return self._examples.measures(self.rows_per_epoch)

    def _pack(self, row: int) -> int:
        epoch, within = divmod(row, self.rows_per_epoch)
        return int(self._shuffle(epoch)[within])

    def _make_shuffle(self, epoch: int) -> Ids:
        return shuffled(self.rows_per_epoch, fold_in(self.seed, "rows", epoch))


class ChatEvaluationRows:
    """One pass over examples in their order, for validation: each row takes as many as fit, and the rest is padding.

    Arguments and errors as of `ChatRows`.
    """

    def __init__(
        self, examples: Iterable[ChatTokens], length: int, *, pad_id: int, too_long: TooLong = "refuse"
    ) -> None:
        self._examples = _Examples(examples, length, pad_id, too_long)
        self.length = length
        self._packs = _in_order(self._examples.sizes, length)
        self.count: int = len(self._packs)
        """Rows in the pass."""
        self.documents: int = len(self._examples.sizes)
        """Examples in the pass."""
        self.pairs: int = self._examples.supervised
        """Supervised (input, target) pairs: the places where `keep` is true."""
        self.bytes: int = self._examples.bytes
        """UTF-8 bytes of what the assistant writes; of a truncated example the share of its supervised tokens."""

    def rows(self, first: int, count: int) -> Rows:
        """Rows [first, first + count), as `ChatRows.rows`; fewer at the end of the pass."""
        check_rows(first, count)
        packs = self._packs[first : first + count]
        if not packs:
            raise InputError(f"evaluation row {first} of {self.count}", "Ask for rows below `count`.")
        return self._examples.rows(packs)

    def measures(self) -> dict[str, Any]:
        """As `ChatRows.measures`, for the pass."""
        return self._examples.measures(self.count)


class _Examples:
    """The examples' tokens, one after another in one array, and rows made of them."""

    def __init__(self, examples: Iterable[ChatTokens], length: int, pad_id: int, too_long: TooLong) -> None:
        if length < 1:
            raise InputError(f"a row length of {length}", "Use a length of at least 1.")
        self._length, self._pad_id = length, pad_id
        self._truncated = self._lost = self._lost_supervised = 0
        self._straddling = self._plain_specials = 0
        self.bytes = 0
        tokens: list[npt.NDArray[np.int32]] = []
        supervised: list[npt.NDArray[np.bool_]] = []
        for number, example in enumerate(examples, 1):
            name = f"example {number}" + (f" ({example.origin})" if example.origin else "")
            fitting = self._fitted(example, name, too_long)
            tokens.append(np.array(example.ids[:fitting], dtype=np.int32))
            supervised.append(np.array(example.supervised[:fitting], dtype=bool))
            if not supervised[-1][1:].any():
                raise InputError(
                    f"{name}: nothing in it is supervised" + _why(example, fitting),
                    "Leave it out, or raise `length` where it was truncated.",
                )
            self._straddling += example.straddling
            self._plain_specials += example.plain_specials
            share = sum(example.supervised[:fitting]) / sum(example.supervised)
            self.bytes += round(share * sum(len(example.text[a:b].encode()) for a, b in example.spans))
        if not tokens:
            raise InputError("no examples to train on", "Give at least one.")
        sizes = np.array([len(t) for t in tokens], dtype=np.int64)
        self.sizes: Ids = sizes - 1
        """Pairs of each."""
        self._start: Ids = np.cumsum(sizes) - sizes
        self._tokens, self._supervised = np.concatenate(tokens), np.concatenate(supervised)
        self.supervised = int(self._supervised.sum() - self._supervised[self._start].sum())

    def rows(self, packs: list[list[int]]) -> Rows:
        shape = (len(packs), self._length)
        rows = {
            "tokens": np.full(shape, self._pad_id, dtype=np.int64),
            "targets": np.full(shape, self._pad_id, dtype=np.int64),
            "segments": np.zeros(shape, dtype=np.int64),
            "positions": np.zeros(shape, dtype=np.int64),
            "keep": np.zeros(shape, dtype=bool),
        }
        for row, pack in enumerate(packs):
            at = 0
            for segment, example in enumerate(pack):
                size, start = int(self.sizes[example]), int(self._start[example])
                place = (row, slice(at, at + size))
                rows["tokens"][place] = self._tokens[start : start + size]
                rows["targets"][place] = self._tokens[start + 1 : start + size + 1]
                rows["keep"][place] = self._supervised[start + 1 : start + size + 1]
                rows["segments"][place] = segment
                rows["positions"][place] = np.arange(size)
                at += size
            rows["segments"][row, at:] = len(pack)
            rows["positions"][row, at:] = np.arange(self._length - at)
        return rows

    def measures(self, rows: int) -> dict[str, Any]:
        pairs = int(self.sizes.sum())
        return {
            "examples": len(self.sizes),
            "rows": rows,
            "tokens": pairs,
            "supervised_tokens": self.supervised,
            "padding": 1 - pairs / (rows * self._length),
            "truncated_examples": self._truncated,
            "truncated_tokens": self._lost,
            "truncated_supervised_tokens": self._lost_supervised,
            "straddling_tokens": self._straddling,
            "plain_specials": self._plain_specials,
        }

    def _fitted(self, example: ChatTokens, name: str, too_long: TooLong) -> int:
        """How many of an example's tokens fit into a row: one more than its pairs."""
        whole, most = len(example.ids), self._length + 1
        if whole <= most:
            return whole
        if too_long == "refuse":
            raise InputError(
                f"{name}: {whole - 1} tokens, and a row has {self._length}",
                f"Use length={whole - 1} or more, shorten it, or cut such examples with too_long=truncate.",
            )
        self._truncated += 1
        self._lost += whole - most
        self._lost_supervised += sum(example.supervised[most:])
        return most


def _why(example: ChatTokens, fitting: int) -> str:
    if not any(example.supervised):
        return ": it has no words of the assistant's that the loss could count"
    if any(example.supervised[fitting:]):
        return f" after it was truncated to {fitting - 1} tokens"
    return " but its first token, which nothing predicts"


def _best_fit(sizes: Ids, order: Ids, length: int) -> list[list[int]]:
    """Examples packed into rows: the longest first, equal ones in the given order, each into the fullest row that has
    room for it."""
    longest_first = order[np.argsort(-sizes[order], kind="stable")]
    packs: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (places left, row), sorted
    for example, size in zip(longest_first.tolist(), sizes[longest_first].tolist(), strict=True):
        found = bisect_left(room, (size, -1))
        if found < len(room):
            left, row = room.pop(found)
        else:
            left, row = length, len(packs)
            packs.append([])
        packs[row].append(example)
        if left > size:
            insort(room, (left - size, row))
    return packs


def _in_order(sizes: Ids, length: int) -> list[list[int]]:
    packs: list[list[int]] = []
    left = 0
    for example, size in enumerate(sizes.tolist()):
        if not packs or size > left:
            packs.append([])
            left = length
        packs[-1].append(example)
        left -= size
    return packs
