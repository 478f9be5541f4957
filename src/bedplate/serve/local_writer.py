"""`LocalWriter`: a model on this machine, with what puts conversations to it and finishes its answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

from bedplate.adapt.face import Answer, Answerer, Message, Prepared
from bedplate.codecs.text import TextTokenizer
from bedplate.errors import BedplateError, InputError
from bedplate.generate.generation import Generation
from bedplate.generate.model import TextModel
from bedplate.generate.params import SamplingParams
from bedplate.serve.admission import Admission
from bedplate.serve.api_error import ApiError, refused
from bedplate.serve.continuation import Continuation, Given, OffLoop, Piece, Ready
from bedplate.serve.sampling_fields import Sampling, model_defaults
from bedplate.serve.worker import Lane, Ticket


class LocalWriter:
    """A model and its lane. face: what puts conversations and finishes answers; None where the model's own chat
    template does all. holds: whether an answer may only be shown once the face has finished it."""

    def __init__(
        self,
        name: str,
        lane: Lane,
        model: TextModel,
        admission: Admission,
        *,
        face: Answerer | None = None,
        holds: bool = False,
    ) -> None:
        self.name, self.lane, self.model, self.admission = name, lane, model, admission
        self.face, self.holds, self.tells_tokens = face, holds, not holds

    @property
    def context(self) -> int:
        """Most tokens of a prompt and its answer."""
        return self.model.config.max_position_embeddings

    @property
    def template(self) -> str | None:
        return None if self.model.tokenizer is None else self.model.tokenizer.chat_template

    @property
    def tokenizer(self) -> TextTokenizer:
        """Raises a 400 where the model has none."""
        if self.model.tokenizer is None:
            raise refused(f"model {self.name!r} has no tokenizer, so it takes only token ids", "prompt")
        return self.model.tokenizer

    def ready(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None) -> Ready:
        if self.template is None:
            raise refused(f"model {self.name!r} has no chat template, as in base models: use /v1/completions", "model")
        wants_tools = bool(tools) or any(m["role"] == "tool" or m.get("tool_calls") for m in messages)
        if wants_tools and (self.face is not None or "tool" not in self.template):
            raise refused(f"model {self.name!r} knows no tools", "tools" if tools else "messages")
        self._check_length(sum(len(str(m.get("content") or "")) for m in messages), "messages")
        prepared = Prepared(messages) if self.face is None else prepared_by(self.face, self.name, messages)
        if prepared.answer is not None:
            return Ready(prepared, [])
        try:
            prompt = self.model.chat_prompt(prepared.messages, tools=tools)
        except InputError as error:
            raise refused(error.problem, "messages") from error
        return Ready(prepared, self.fitting(prompt, "messages"))

    def ready_plain(self, prompt: str | list[int], param: str) -> list[int]:
        """The tokens of a text to be continued, as `generate` takes them."""
        if isinstance(prompt, str):
            self._check_length(len(prompt), param)
            prompt = self.tokenizer.encode(prompt, post_process=True)
        if not prompt:
            bos = self.model.config.bos_token_id if self.model.tokenizer is None else self.model.tokenizer.bos_id
            if bos is None:
                raise refused(f"{param} is empty, and model {self.name!r} has no token to start from", param)
            prompt = [bos]
        return self.fitting(prompt, param)

    @cached_property
    def _most_characters(self) -> int | None:
        """More than these no prompt of the context has; None where a token may stand for any number of them."""
        tokenizer = self.model.tokenizer
        if tokenizer is None or not tokenizer.byte_level:
            return None
        return self.context * max((len(tokenizer.token_bytes(i)) for i in range(tokenizer.vocab_size)), default=1)

    def _check_length(self, characters: int, param: str) -> None:
        """Raises a 400 for what can't fit in however few tokens, before any are made."""
        most = self._most_characters
        if most is not None and characters > most:
            raise refused(
                f"{param} has {characters} characters, and the context of model {self.name!r} is {self.context} tokens",
                param,
                "context_length_exceeded",
            )

    def fitting(self, prompt: list[int], param: str) -> list[int]:
        """The prompt. Raises a 400 where it leaves no room for an answer, or has tokens that the model lacks."""
        if len(prompt) >= self.context:
            raise refused(
                f"{param} makes {len(prompt)} tokens, and the context of model {self.name!r} is {self.context}: that "
                "leaves no room for an answer",
                param,
                "context_length_exceeded",
            )
        size = self.model.config.vocab_size
        if any(not 0 <= token < size for token in prompt):
            raise refused(f"{param} has a token that isn't among the {size} of model {self.name!r}", param)
        return prompt

    def params(self, sampling: Sampling) -> SamplingParams:
        if "stop" in sampling.given and self.model.tokenizer is None:
            raise refused(
                f"model {self.name!r} has no tokenizer, so it can't look for texts: use stop_token_ids", "stop"
            )
        if self.face is None:
            return sampling.params(model_defaults(self.model.generation), self.context)
        return sampling.params(face_defaults(self.face, self.context), self.context)

    def begin(self, ready: Ready, params: SamplingParams, seed: int | None, off_loop: OffLoop) -> Continuation:
        if ready.prepared.answer is not None:
            return Given(ready.prepared.answer)
        ticket = self.lane.submit(ready.prompt, params, seed)
        if self.face is None or not self.holds:
            return LocalContinuation(ticket)
        return FinishedContinuation(ticket, partial(self.face.finish, ready.prepared), off_loop)


class LocalContinuation:
    """The tokens of a ticket."""

    def __init__(self, ticket: Ticket) -> None:
        self._ticket = ticket

    async def pieces(self) -> AsyncIterator[Piece]:
        async for event in self._ticket.events():
            if event.generation is None:
                yield Piece(event.piece, event.token)
            else:
                by_token = isinstance(event.generation.stopped_by, int)
                yield Piece(event.piece, None if by_token else event.token, _answer(event.generation))

    def cancel(self) -> None:
        self._ticket.cancel()

    def when_over(self, call: Callable[[], None]) -> None:
        call()  # the worker frees the slot before its next turn


class FinishedContinuation:
    """The answer of a ticket in one piece, once a face has finished it."""

    def __init__(self, ticket: Ticket, finish: Callable[[Answer], Answer], off_loop: OffLoop) -> None:
        self._ticket, self._finish, self._off_loop = ticket, finish, off_loop

    async def pieces(self) -> AsyncIterator[Piece]:
        async for event in self._ticket.events():
            if event.generation is not None:
                answer = await self._off_loop(partial(self._finish, _answer(event.generation)))
                yield Piece(answer.text, None, answer)

    def cancel(self) -> None:
        self._ticket.cancel()

    def when_over(self, call: Callable[[], None]) -> None:
        call()  # the worker frees the slot before its next turn


def prepared_by(face: Answerer, name: str, messages: Sequence[Message]) -> Prepared:
    """What a face makes of a conversation. Raises ApiError where it can't: what the face said isn't repeated, for it
    may name files and quote the prompt."""
    from bedplate.adapt.prompting import PromptAnswerer

    if isinstance(face, PromptAnswerer) and messages[-1]["role"] != "user":
        raise refused("messages: the last isn't a text from the user", "messages", "invalid_value")
    questions = [m["content"] for m in messages if m["role"] == "user"]
    if not questions or not questions[-1].strip():
        raise refused("messages: there is no question from the user", "messages", "invalid_value")
    try:
        return face.prepare(messages)
    except InputError as error:
        raise refused(
            f"messages can't be put to model {name!r}: they are too long for its context, or its template refuses them",
            "messages",
        ) from error
    except BedplateError as error:
        raise ApiError(500, f"model {name!r} couldn't prepare its answer; the server's log says why") from error


def face_defaults(face: Answerer, most: int) -> dict[str, Any]:
    """What a face answers with where nothing is said."""
    own = getattr(face, "defaults", None) or SamplingParams()
    return {"temperature": own.temperature, "max_tokens": min(own.max_tokens, most), "stop": own.stop}


def _answer(generation: Generation) -> Answer:
    return Answer(generation.text, generation.usage, finish_reason=generation.finish_reason)
