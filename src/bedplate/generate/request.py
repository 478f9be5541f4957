"""`Request`: one prompt and its continuation in the making."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from numbers import Integral

from torch import Tensor

from bedplate.codecs.streaming import StreamDecoder
from bedplate.codecs.text import TextTokenizer
from bedplate.errors import InputError, UserError
from bedplate.families.model import Model
from bedplate.families.seq2seq_model import Seq2SeqModel
from bedplate.generate.generation import FinishReason, Generation, Usage
from bedplate.generate.params import SamplingParams
from bedplate.generate.stopping import StopStrings

PRIMING = 8
"""Prompt tokens that a decoder sees first, where a token's text depends on those before it."""


class Request:
    """Takes tokens one at a time and knows its text and whether it has ended.

    ends: tokens that end it. room: most tokens that it may have, by its own params and the model's context. source:
    what an encoder reads; `prompt` is then what its decoder starts from.
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
        source: Sequence[int] = (),
    ) -> None:
        self.prompt, self.params, self.room, self.source = list(prompt), params, room, list(source)
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
        continues = not source  # what an encoder-decoder writes is a text of its own
        if continues and self._decoder is not None and tokenizer is not None and not tokenizer.byte_level:
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
            usage=Usage(len(self.source or self.prompt), len(self.tokens)),
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


def new_request(
    model: Model | Seq2SeqModel,
    prompt: Sequence[int],
    params: SamplingParams,
    *,
    seed: int | None = None,
    name: str = "the prompt",
) -> Request:
    """A request to continue token ids, or of an encoder-decoder to answer them; an empty prompt starts from BOS. seed:
    in place of the params' own.

    Raises InputError, saying `name`, for a prompt that is empty, too long for the model's context or out of its
    vocabulary; UserError for stop strings without a tokenizer.
    """
    tokens, source = _checked(model, prompt, name), list[int]()
    if isinstance(model, Seq2SeqModel):
        context = model.config.longest
        if context is not None and len(tokens) > context:
            raise InputError(f"{name} has {len(tokens)} tokens and the model reads {context}", "Shorten the prompt.")
        tokens, source = list(model.start_tokens), tokens
    else:
        context = model.config.max_position_embeddings
        if len(tokens) >= context:
            raise InputError(
                f"{name} has {len(tokens)} tokens and the model's context is {context}: no room for an answer",
                "Shorten the prompt.",
            )
    if params.stop and model.tokenizer is None:
        raise UserError("stop strings need a tokenizer, and this model has none", "Use stop_token_ids.")
    return Request(
        tokens,
        params,
        seed=params.seed if seed is None else seed,
        ends=frozenset(params.stop_token_ids) | (frozenset() if params.ignore_eos else end_tokens(model)),
        room=params.max_tokens if context is None else min(params.max_tokens, context - len(tokens)),
        tokenizer=model.tokenizer,
        source=source,
    )


def end_tokens(model: Model | Seq2SeqModel) -> frozenset[int]:
    """The model's own end tokens: what generation_config.json says, else config.json, else the tokenizer."""
    for found in (model.generation.get("eos_token_id"), model.config.eos_token_id):
        if found is not None:
            return frozenset([found] if isinstance(found, int) else found)
    eos = None if model.tokenizer is None else model.tokenizer.eos_id
    return frozenset(() if eos is None else [eos])


def _checked(model: Model | Seq2SeqModel, prompt: Sequence[int], name: str) -> list[int]:
    given = prompt.tolist() if isinstance(prompt, Tensor) else prompt
    if not isinstance(given, Iterable):
        raise InputError(f"{name} is neither a text nor a list of token ids", "Give one or the other.")
    tokens: list[int] = []
    for t in given:
        # int() would make 1 of 1.7, of "1" and of True, and the model would answer another prompt.
        if isinstance(t, bool) or not isinstance(t, Integral):
            raise InputError(f"{name} has {t!r} among its token ids", "Give whole numbers, or a text.")
        tokens.append(int(t))
    if not tokens:
        bos = model.config.bos_token_id if model.tokenizer is None else model.tokenizer.bos_id
        if bos is None:
            raise InputError(f"{name} is empty and the model has no BOS token to start from", "Write something.")
        tokens = [bos]
    outside = [t for t in tokens if not 0 <= t < model.config.vocab_size]
    if outside:
        raise InputError(
            f"{name} has token {outside[0]}, and the model's vocabulary is {model.config.vocab_size}",
            "Encode it with this model's tokenizer.",
        )
    return tokens
