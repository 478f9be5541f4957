"""POST /v1/completions"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bedplate.adapt.face import Answer
from bedplate.generate.generation import Usage
from bedplate.generate.session import Token
from bedplate.serve.answers import Choice, CompletionShape
from bedplate.serve.body import read_body, while_connected
from bedplate.serve.completion_request import CompletionRequest, read_completion
from bedplate.serve.continuation import Continuation
from bedplate.serve.echo import prompt_tokens
from bedplate.serve.event_stream import EventStream, merged
from bedplate.serve.fields import parsed
from bedplate.serve.local_writer import LocalContinuation, LocalWriter
from bedplate.serve.service import Service
from bedplate.serve.work import Work, collected


async def complete(service: Service, request: Request) -> Response:
    """Continue plain texts, whole or as a stream."""
    body = await read_body(request)
    return await while_connected(request, _answer(service, body), service.timeout)


async def _answer(service: Service, body: bytes) -> Response:
    asked = await service.off_loop(lambda: read_completion(parsed(body)))
    writer = service.catalogue.completer(asked.model)
    params, seeds = writer.params(asked.sampling), asked.sampling.seeds(len(asked.prompts))
    tokenizer = writer.tokenizer if asked.logprobs is not None or asked.echo else None
    shape = CompletionShape(asked.model, tokenizer, logprobs=asked.logprobs is not None)
    each = asked.sampling.choices
    with Work(writer.admission.enter(len(seeds)).leave) as work:
        prompts = await service.off_loop(lambda: _prompts(writer, asked))
        tickets = [
            writer.lane.submit(prompts[i // each], params, seed) for i, seed in enumerate(seeds) if not asked.score
        ]
        begun = [LocalContinuation(ticket) for ticket in tickets]
        work.under_way = begun
        if asked.stream:
            events = _events(shape, begun, each, usage=asked.usage)
            return EventStream(events, explain=service.explain, on_end=work.hand_over(), timeout=service.timeout)
        echoes = [await _echo(service, writer, asked, i, p) for i, p in enumerate(prompts)] if asked.echo else None
        choices = _scored(prompts, each) if asked.score else await collected(begun)
        return JSONResponse(shape.whole(choices, each, echoes))


def _prompts(writer: LocalWriter, asked: CompletionRequest) -> list[list[int]]:
    names = [f"prompt[{i}]" for i in range(len(asked.prompts))] if len(asked.prompts) > 1 else ["prompt"]
    return [writer.ready_plain(prompt, name) for prompt, name in zip(asked.prompts, names, strict=True)]


async def _echo(
    service: Service, writer: LocalWriter, asked: CompletionRequest, index: int, prompt: Sequence[int]
) -> tuple[str, list[Token]]:
    """A prompt's text, and its tokens where log-probabilities are wanted."""
    given = asked.prompts[index]
    text = given if isinstance(given, str) else writer.tokenizer.decode(prompt)
    if asked.logprobs is None:
        return text, []
    return text, await service.worker.compute(prompt_tokens(writer.model, prompt, asked.logprobs))


def _scored(prompts: Sequence[Sequence[int]], each: int) -> list[Choice]:
    """Answers without a token: only the prompts are wanted."""
    return [
        Choice(answer=Answer("", Usage(len(prompt), 0), finish_reason="length"))
        for prompt in prompts
        for _ in range(each)
    ]


async def _events(
    shape: CompletionShape, continuations: Sequence[Continuation], each: int, *, usage: bool
) -> AsyncGenerator[dict[str, Any]]:
    choices = [Choice() for _ in continuations]
    async with aclosing(merged(continuations)) as pieces:
        async for index, piece in pieces:
            choice = choices[index]
            offset = len(choice.text) if shape.wants_tokens else 0
            tokens = choice.take(piece)
            if piece.text or (tokens and shape.wants_tokens):
                yield shape.piece(index, piece.text, tokens, offset)
            if piece.answer is not None:
                yield shape.last(index, choice)
    if usage:
        yield shape.usage(choices, each)
