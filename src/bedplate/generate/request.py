"""`Request`: one prompt and its continuation in the making."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from bedplate.codecs.streaming import StreamDecoder
from bedplate.codecs.text import TextTokenizer
from bedplate.generate.generation import FinishReason, Generation, Usage
from bedplate.generate.params import SamplingParams
from bedplate.generate.stopping import StopStrings

PRIMING = 8
"""Prompt tokens that a decoder sees first, where a token's text depends on those before it."""


class Request:
    """Takes tokens one at a time and knows its text and whether it has ended.

    ends: tokens that end it. room: most tokens that it may have, by its own params and the model's context.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        params: SamplingParams,
        *,
        seed: int | None,
        ends: frozenset[int],
        room: int,
        tokenizer: TextTokenizer | None,
    ) -> None:
        self.prompt, self.params, self.room = list(prompt), params, room
        self.seed = secrets.randbits(63) if seed is None else seed
        self.tokens: list[int] = []
        self.finish_reason: FinishReason | None = None
        self._ends = ends
        self._stopped_by: int | str | None = None
        self._text: list[str] = []
        self._logprobs: list[float] = []
        self._top: list[dict[int, float]] = []
        self._stops = StopStrings(params.stop)
        self._decoder = None if tokenizer is None else StreamDecoder(tokenizer)
        if self._decoder is not None and tokenizer is not None and not tokenizer.byte_level:
            for token in self.prompt[-PRIMING:]:
                self._decoder.push(token)

    @property
    def history(self) -> list[int]:
        return self.prompt + self.tokens

    def accept(self, token: int, logprob: float, top: dict[int, float] | None) -> str:
        """Add a token; the text that it makes certain."""
        self.tokens.append(token)
        self._logprobs.append(logprob)
        if top is not None:
            self._top.append(top)
        if token in self._ends:
            self._stopped_by = token
            piece = self._finish("stop")
        else:
            piece = self._stops.push("" if self._decoder is None else self._decoder.push(token))
            if self._stops.found is not None:
                self.finish_reason, self._stopped_by = "stop", self._stops.found
            elif len(self.tokens) >= self.room:
                piece += self._finish("length")
        if piece:
            self._text.append(piece)
        return piece

    def generation(self) -> Generation:
        """What has been generated, once it has ended."""
        assert self.finish_reason is not None
        return Generation(
            text="".join(self._text),
            tokens=tuple(self.tokens),
            logprobs=tuple(self._logprobs),
            finish_reason=self.finish_reason,
            usage=Usage(len(self.prompt), len(self.tokens)),
            stopped_by=self._stopped_by,
            top_logprobs=tuple(self._top) if self.params.top_logprobs else None,
        )

    def _finish(self, reason: FinishReason) -> str:
        """End it; the text that was held back."""
        self.finish_reason = reason
        piece = "" if self._decoder is None else self._stops.push(self._decoder.flush())
        if self._stops.found is not None:  # completed by the decoder's last characters
            self.finish_reason, self._stopped_by = "stop", self._stops.found
            return piece
        return piece + self._stops.flush()
