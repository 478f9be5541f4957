"""Span corruption: stretches of a text replaced by sentinels, and told in order (T5, Raffel et al., arXiv 1910.10683,
section 3.3.4). Lengths and spans are drawn as in T5's `random_spans_noise_mask`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bedplate.data.draws import uniform
from bedplate.data.packing import Rows
from bedplate.data.row_sources import RowSource
from bedplate.errors import InputError

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Spans:
    """density: the share of tokens that is hidden; mean_length: tokens of a hidden span on average."""

    density: float = 0.15
    mean_length: float = 3.0

    def __post_init__(self) -> None:
        if not 0 < self.density < 1:
            raise InputError(f"span corruption: a density of {self.density}", "Use a share between 0 and 1.")
        if not self.mean_length >= 1:
            raise InputError(f"span corruption: a mean length of {self.mean_length}", "Use 1 or more tokens a span.")

    def counts(self, tokens: int) -> tuple[int, int]:
        """(hidden tokens, spans) of a text; of two tokens and more, at least one is hidden and one shown."""
        if tokens < 2:
            return tokens, tokens
        hidden = min(max(round(tokens * self.density), 1), tokens - 1)
        return hidden, min(max(round(hidden / self.mean_length), 1), tokens - hidden)

    def lengths(self, tokens: int) -> tuple[int, int]:
        """What a text of `tokens` becomes: encoder and decoder tokens, a sentinel a span and the end in both."""
        hidden, spans = self.counts(tokens)
        return tokens - hidden + spans + 1, hidden + spans + 1

    def tokens_for(self, encoder_length: int) -> int:
        """The most tokens of a text whose encoder row fits in `encoder_length` (T5's `random_spans_helper`)."""
        tokens = max(encoder_length - 1, 0)
        while self.lengths(tokens + 1)[0] <= encoder_length:
            tokens += 1
        if tokens < 2 or self.lengths(tokens)[0] > encoder_length:
            raise InputError(f"span corruption: an encoder row of {encoder_length}", "Use at least 3 tokens.")
        return tokens


class SpanRows:
    """Encoder-decoder rows from the targets of `source`, whose rows of `length` tokens are one text each (a stretch of
    the documents, ends included, as T5 makes them).

    tokens, valid [B, T]: the text with each hidden span replaced by a sentinel of its own, in the order of `sentinels`
    (T5's ids descend), then `eos`. decoder_tokens, targets, keep [B, U]: each sentinel and what it hides, then `eos`;
    decoder_tokens are these moved by one behind `start`. T and U are `spans.lengths(length)`: rows are full but where
    the source's `keep` ends early, and those are padded with `pad`. Row r is a pure function of (source rows, seed, r).
    """

    def __init__(
        self,
        source: RowSource,
        seed: int,
        *,
        length: int,
        sentinels: Sequence[int],
        eos: int,
        start: int,
        pad: int,
        spans: Spans | None = None,
    ) -> None:
        self.source, self.seed, self.length = source, seed, length
        self.spans = spans or Spans()
        self.eos, self.start, self.pad = eos, start, pad
        if length < 2:
            raise InputError(f"span corruption: texts of {length} tokens", "Use at least 2.")
        self.encoder_length, self.decoder_length = self.spans.lengths(length)
        most = self.spans.counts(length)[1]
        if most > len(sentinels):
            raise InputError(
                f"span corruption: {most} spans in {length} tokens, and the tokenizer has {len(sentinels)} sentinels",
                "Use shorter rows, longer spans, or a lower density.",
            )
        self._sentinels: Ids = np.array(sentinels, dtype=np.int64)

    def rows(self, first: int, count: int) -> Rows:
        """Rows [first, first + count), as many as the source has."""
        source = self.source.rows(first, count)
        texts, lengths = source["targets"], source["keep"].sum(axis=1)
        if texts.shape[1] != self.length:
            raise InputError(
                f"span corruption: rows of {texts.shape[1]} tokens, where {self.length} were promised",
                "Give the source the same length.",
            )
        found = len(texts)
        draws = uniform(self.seed, "spans", first, found, 2 * self.length)
        encoder = np.full((found, self.encoder_length), self.pad, dtype=np.int64)
        decoder = np.full((found, self.decoder_length), self.pad, dtype=np.int64)
        valid = np.zeros(encoder.shape, dtype=bool)
        keep = np.zeros(decoder.shape, dtype=bool)
        for size in np.unique(lengths[lengths > 0]).tolist():  # one but at the end of a pass
            which = np.flatnonzero(lengths == size)
            shown, told = self._corrupted(texts[which, :size], draws[which])
            encoder[which, : shown.shape[1]], valid[which, : shown.shape[1]] = shown, True
            decoder[which, : told.shape[1]], keep[which, : told.shape[1]] = told, True
        behind = np.full(decoder.shape, self.start, dtype=np.int64)
        behind[:, 1:] = decoder[:, :-1]
        return {"tokens": encoder, "valid": valid, "decoder_tokens": behind, "targets": decoder, "keep": keep}

    def _corrupted(self, texts: Ids, draws: npt.NDArray[np.float64]) -> tuple[Ids, Ids]:
        """texts [B, n] -> what encoder and decoder are given, [B, T] and [B, U]; every row has as many spans."""
        rows, size = texts.shape
        hidden = span_mask(size, self.spans, draws)
        begins = hidden.copy()
        begins[:, 1:] &= ~hidden[:, :-1]
        sentinel = self._sentinels[np.maximum(np.cumsum(begins, axis=1) - 1, 0)]
        end = np.full((rows, 1), self.eos, dtype=np.int64)
        shown = np.where(begins, sentinel, texts)[begins | ~hidden].reshape(rows, -1)
        both = np.stack([sentinel, texts], axis=2)
        told = both[np.stack([begins, hidden], axis=2)].reshape(rows, -1)
        return np.concatenate([shown, end], axis=1), np.concatenate([told, end], axis=1)


def span_mask(size: int, spans: Spans, draws: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which of the `size` tokens of each row are hidden, bool [B, size], from draws [B, 2 * size or more].

    Hidden and shown tokens are each cut into as many stretches at random, all cuts alike, and these alternate, a shown
    one first.
    """
    hidden, count = spans.counts(size)
    if hidden == size:
        return np.ones((len(draws), size), dtype=bool)
    shown_lengths = _segments(size - hidden, count, draws[:, :size])
    hidden_lengths = _segments(hidden, count, draws[:, size : 2 * size])
    lengths = np.stack([shown_lengths, hidden_lengths], axis=2).reshape(len(draws), -1)
    ends = np.cumsum(lengths, axis=1)[:, :-1]
    flips = np.zeros((len(draws), size), dtype=np.int64)
    flips[np.arange(len(draws))[:, None], ends] = 1
    return np.cumsum(flips, axis=1) % 2 == 1


def _segments(items: int, count: int, draws: npt.NDArray[np.float64]) -> Ids:
    """`items` cut into `count` stretches of at least one, [B, count]: the places of the cuts are drawn."""
    cuts = np.argsort(draws[:, : items - 1], axis=1, kind="stable")[:, : count - 1] + 1
    edges = np.zeros((len(draws), count + 1), dtype=np.int64)
    edges[:, 1:-1] = np.sort(cuts, axis=1)
    edges[:, -1] = items
    return np.diff(edges, axis=1)
