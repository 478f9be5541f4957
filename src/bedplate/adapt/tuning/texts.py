"""Texts to classify -> the tokens that a model reads of them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bedplate.errors import InputError
from bedplate.families.encoder_model import Encoded, EncoderModel, TruncationWarning
from bedplate.generate.model import TextModel

SUFFIX = "\nCategory:"
"""What a causal model reads after a text: at its last token it is about to name the class."""

_UNCUT = 10**9


@dataclass(frozen=True)
class Read:
    """ids: the tokens of each text, special ones and suffix included. whole: how many there would be, uncut."""

    ids: list[list[int]]
    whole: list[int]

    @property
    def cut(self) -> list[int]:
        """Which texts lost their ends."""
        return [i for i, (ids, whole) in enumerate(zip(self.ids, self.whole, strict=True)) if len(ids) < whole]


class TextReader:
    """Reads texts as one model does; `most`: tokens that are read of one."""

    def __init__(self, model: TextModel | EncoderModel, suffix: str = "", limit: int | None = None) -> None:
        """limit: read no more than so many tokens of a text, though the model could. Raises InputError for a causal
        model without a tokenizer."""
        self._model, self.suffix = model, suffix
        if model.tokenizer is None:
            raise InputError("the base has no tokenizer, so it can't read texts", "Put its tokenizer.json beside it.")
        self._tokenizer = model.tokenizer
        encoder = isinstance(model, EncoderModel)
        able = model.max_length if isinstance(model, EncoderModel) else model.config.max_position_embeddings
        self.most = able if limit is None else min(able, limit)
        self._suffix = [] if encoder else self._tokenizer.encode(suffix)

    @property
    def pad(self) -> int:
        """The token that fills up rows; its meaning is never read."""
        return self._tokenizer.pad_id or 0

    def read(self, texts: Sequence[str]) -> Read:
        """The tokens of each text, cut to `most`."""
        model = self._model
        if isinstance(model, EncoderModel):
            return _read_encoder(model, texts, self.most)
        ids = self._tokenizer.encode_batch(texts, post_process=True)
        room = self.most - len(self._suffix)
        if room < 1:
            raise InputError(f"a length of {self.most} tokens has no room for the text itself", "Raise way.length.")
        return Read([row[:room] + self._suffix for row in ids], [len(row) + len(self._suffix) for row in ids])

    def read_warning(self, texts: Sequence[str]) -> list[list[int]]:
        """`read` for use: warns (`TruncationWarning`) where texts are longer than the model reads."""
        found = self.read(texts)
        if found.cut:
            warnings.warn(
                f"{len(found.cut)} of {len(texts)} texts are longer than the {self.most} tokens that are read of one: "
                "their ends don't count",
                TruncationWarning,
                stacklevel=3,
            )
        return found.ids


def _read_encoder(model: EncoderModel, texts: Sequence[str], limit: int) -> Read:
    def encoded(most: int) -> Encoded:
        reader = copy.copy(model)  # it has settings of its own; the net is shared
        reader.settings = replace(model.settings, max_length=most)
        return reader.encode_batch(texts)

    ids = encoded(limit)
    return Read(list(ids), [len(row) for row in (encoded(_UNCUT) if ids.truncated else ids)])
