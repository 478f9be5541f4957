"""Masked rows: some tokens hidden, to be told from both sides (BERT, Devlin et al., arXiv 1810.04805, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from bedplate.data.draws import uniform
from bedplate.data.packing import Rows
from bedplate.data.row_sources import RowSource
from bedplate.errors import InputError

WordStarts = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.bool_]]
MASKED, REPLACED = 0.8, 0.1
"""Of the chosen places: the share that shows the mask token, and that which shows a random one. The rest stays."""


class MaskedRows:
    """Rows of `source` with `rate` of their tokens chosen at random: `targets` are the tokens as they were, `keep` the
    chosen places, and of these 80% show `mask_id` in `tokens`, 10% a random token and 10% what they are.

    Row r is a pure function of (source rows, seed, r). special: ids that are never chosen and never put in another's
    place (boundaries, padding, the mask itself). Places where the source's `keep` is false, and those where its `valid`
    is where it has one, are never chosen either. A row in which chance chooses nothing has its likeliest place chosen.
    word_starts: tokens [B, T] -> bool [B, T], where words begin (`codecs.word_starts.WordStarts`); then whole words are
    chosen (whole-word masking, Devlin 2019), a word ending at any special token and where its segment does.
    """

    def __init__(
        self,
        source: RowSource,
        seed: int,
        *,
        vocabulary: int,
        mask_id: int,
        special: Iterable[int],
        rate: float = 0.15,
        word_starts: WordStarts | None = None,
    ) -> None:
        if not 0 < rate <= 1:
            raise InputError(f"masking: a rate of {rate}", "Use a share above 0 and up to 1, such as 0.15.")
        closed = np.array(sorted({mask_id, *special}), dtype=np.int64)
        if closed[0] < 0 or closed[-1] >= vocabulary:
            raise InputError(
                f"masking: special tokens {closed[[0, -1]].tolist()} in a vocabulary of {vocabulary}",
                "Give ids below the vocabulary's size.",
            )
        self.source, self.seed, self.rate, self.mask_id = source, seed, rate, mask_id
        self._open = np.ones(vocabulary, dtype=bool)
        self._open[closed] = False
        self._ordinary = np.flatnonzero(self._open)
        if not len(self._ordinary):
            raise InputError("masking: every token of the vocabulary is special", "Leave some to be chosen.")
        self._word_starts = word_starts

    def rows(self, first: int, count: int) -> Rows:
        """The source's rows [first, first + count), with tokens, targets and keep as above."""
        rows = self.source.rows(first, count)
        tokens = rows["tokens"]
        eligible = self._open[tokens] & rows["keep"]
        if "valid" in rows:
            eligible &= rows["valid"]
        found, length = tokens.shape
        choice, fate, other = np.split(uniform(self.seed, "mask", first, found, 3 * length), 3, axis=1)
        if self._word_starts is not None:
            # Every token of a word goes by the draw of its first.
            starts = self._begins(tokens, rows.get("segments"), eligible)
            choice = np.take_along_axis(choice, np.maximum.accumulate(np.where(starts, np.arange(length), 0), 1), 1)
        choice = np.where(eligible, choice, 1.0)
        threshold = np.maximum(choice.min(axis=1, keepdims=True, initial=1.0), np.nextafter(self.rate, 0))
        chosen = eligible & (choice <= threshold)
        shown = np.where(fate < MASKED, self.mask_id, tokens)
        replaced = (fate >= MASKED) & (fate < MASKED + REPLACED)
        shown = np.where(replaced, self._ordinary[(other * len(self._ordinary)).astype(np.int64)], shown)
        return rows | {"tokens": np.where(chosen, shown, tokens), "targets": tokens, "keep": chosen}

    def _begins(
        self, tokens: npt.NDArray[np.int64], segments: npt.NDArray[np.int64] | None, eligible: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.bool_]:
        assert self._word_starts is not None
        starts = self._word_starts(tokens) | ~eligible
        starts[:, 0] = True
        starts[:, 1:] |= ~eligible[:, :-1]
        if segments is not None:
            starts[:, 1:] |= segments[:, 1:] != segments[:, :-1]
        return starts
