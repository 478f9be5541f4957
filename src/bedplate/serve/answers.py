"""Answers in the shape of the OpenAI API: whole, and as the chunks of a stream."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bedplate.adapt.face import Answer, Citation
from bedplate.codecs.streaming import StreamDecoder
from bedplate.codecs.text import TextTokenizer
from bedplate.generate.generation import Usage
from bedplate.generate.session import Token
from bedplate.serve.continuation import Piece


@dataclass
class Choice:
    """One answer as far as it has come."""

    texts: list[str] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    answer: Answer | None = None

    def take(self, piece: Piece) -> list[Token]:
        """Add a piece; the tokens that came with it."""
        tokens = [] if piece.token is None else [piece.token]
        self.texts.append(piece.text)
        self.tokens += tokens
        self.answer = piece.answer
        return tokens

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def whole(self) -> Answer:
        assert self.answer is not None
        return self.answer


def usage(choices: Sequence[Choice], per_prompt: int) -> dict[str, int]:
    """Tokens read and written. per_prompt: choices that answer one prompt, which counts once."""
    read = sum(c.whole.usage.prompt_tokens for c in choices[::per_prompt])
    written = sum(c.whole.usage.completion_tokens for c in choices)
    return usage_object(Usage(read, written))


def usage_object(counted: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": counted.prompt_tokens,
        "completion_tokens": counted.completion_tokens,
        "total_tokens": counted.total_tokens,
    }


class ChatShape:
    """`chat.completion` and `chat.completion.chunk`. tokenizer: where log-probabilities are asked for."""

    def __init__(self, model: str, tokenizer: TextTokenizer | None) -> None:
        self._head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}
        self._tokenizer = tokenizer

    def whole(self, choices: Sequence[Choice]) -> dict[str, Any]:
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [self._choice(i, choice) for i, choice in enumerate(choices)],
            "usage": usage(choices, len(choices)),
        }

    def first(self, index: int) -> dict[str, Any]:
        return self._chunk(index, {"role": "assistant", "content": ""})

    def piece(self, index: int, text: str, tokens: Sequence[Token]) -> dict[str, Any]:
        return self._chunk(index, {"content": text}, self._logprobs(tokens) if self._tokenizer else None)

    def last(self, index: int, choice: Choice) -> dict[str, Any]:
        return self._chunk(index, _extensions(choice.whole), finish=choice.whole.finish_reason)

    def usage(self, choices: Sequence[Choice]) -> dict[str, Any]:
        counted = usage(choices, len(choices))
        return {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": counted}

    def _choice(self, index: int, choice: Choice) -> dict[str, Any]:
        message = {"role": "assistant", "content": choice.text, "refusal": None} | _extensions(choice.whole)
        logprobs = self._logprobs(choice.tokens) if self._tokenizer else None
        return {
            "index": index,
            "message": message,
            "logprobs": logprobs,
            "finish_reason": choice.whole.finish_reason,
        }

    def _chunk(
        self, index: int, delta: dict[str, Any], logprobs: Any = None, finish: str | None = None
    ) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def _logprobs(self, tokens: Sequence[Token]) -> dict[str, Any]:
        def entry(token: int, logprob: float) -> dict[str, Any]:
            assert self._tokenizer is not None
            raw = self._tokenizer.token_bytes(token)
            return {"token": raw.decode("utf-8", "replace"), "logprob": _finite(logprob), "bytes": list(raw)}

        content = [
            entry(t.id, t.logprob) | {"top_logprobs": [entry(i, p) for i, p in (t.top or {}).items()]} for t in tokens
        ]
        return {"content": content, "refusal": None}


class CompletionShape:
    """`text_completion`, the same object for the whole and for chunks. echoes: of each choice the prompt's text and
    its tokens, where they are wanted before the answer."""

    def __init__(self, model: str, tokenizer: TextTokenizer | None, *, logprobs: bool) -> None:
        self._head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model,
        }
        self._tokenizer, self.wants_tokens = tokenizer, logprobs

    def whole(
        self, choices: Sequence[Choice], per_prompt: int, echoes: Sequence[tuple[str, list[Token]]] | None = None
    ) -> dict[str, Any]:
        filled = []
        for i, choice in enumerate(choices):
            before, tokens = ("", []) if echoes is None else echoes[i // per_prompt]
            logprobs = self._logprobs([*tokens, *choice.tokens], 0) if self.wants_tokens else None
            filled.append(self._choice(i, before + choice.text, logprobs, choice.whole.finish_reason))
        return {**self._head, "choices": filled, "usage": usage(choices, per_prompt)}

    def piece(self, index: int, text: str, tokens: Sequence[Token], offset: int) -> dict[str, Any]:
        """offset: characters of the answer that came before."""
        logprobs = self._logprobs(tokens, offset) if self.wants_tokens else None
        return {**self._head, "choices": [self._choice(index, text, logprobs, None)]}

    def last(self, index: int, choice: Choice) -> dict[str, Any]:
        return {**self._head, "choices": [self._choice(index, "", None, choice.whole.finish_reason)]}

    def usage(self, choices: Sequence[Choice], per_prompt: int) -> dict[str, Any]:
        return {**self._head, "choices": [], "usage": usage(choices, per_prompt)}

    def _choice(self, index: int, text: str, logprobs: Any, finish: str | None) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}

    def _logprobs(self, tokens: Sequence[Token], offset: int) -> dict[str, Any] | None:
        if self._tokenizer is None:
            return None
        texts = [self._name(t.id) for t in tokens]
        tops = [None if t.top is None else self._named(t.top) for t in tokens]
        return {
            "tokens": texts,
            "token_logprobs": [_finite(t.logprob) for t in tokens],
            "top_logprobs": tops if any(top is not None for top in tops) else None,
            "text_offset": self._offsets([t.id for t in tokens], offset),
        }

    def _offsets(self, tokens: Sequence[int], offset: int) -> list[int]:
        """At which character of the text each token begins; one inside a character counts as after it."""
        assert self._tokenizer is not None
        decoder = StreamDecoder(self._tokenizer)
        offsets = []
        for token in tokens:
            offsets.append(offset)
            offset += len(decoder.push(token))
        return offsets

    def _named(self, top: dict[int, float]) -> dict[str, float | None]:
        named: dict[str, float | None] = {}
        for token, logprob in top.items():  # likeliest first: of tokens with one name the likelier counts
            named.setdefault(self._name(token), _finite(logprob))
        return named

    def _name(self, token: int) -> str:
        """Its text; its bytes where it is a part of a character, spelt as OpenAI does."""
        assert self._tokenizer is not None
        raw = self._tokenizer.token_bytes(token)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def _extensions(answer: Answer) -> dict[str, Any]:
    """What a grounded answer says beyond the OpenAI API: `citations` and `abstained`."""
    if not answer.citations and not answer.abstained:
        return {}
    return {"citations": [_citation(c) for c in answer.citations], "abstained": answer.abstained}


def _citation(citation: Citation) -> dict[str, Any]:
    return {
        "number": citation.number,
        "source": citation.source,
        "title": citation.title,
        "start": citation.start,
        "end": citation.end,
        "text": citation.text,
        "score": _finite(float(citation.score)),
    }


def _finite(value: float) -> float | None:
    """JSON has no NaN; a token that can't follow has the log-probability that OpenAI gives those."""
    return None if math.isnan(value) else max(value, -9999.0)
