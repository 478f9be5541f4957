"""POST /v1/chat/completions"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bedplate.serve.answers import ChatShape, Choice
from bedplate.serve.api_error import refused
from bedplate.serve.body import read_body, while_connected
from bedplate.serve.chat_request import read_chat
from bedplate.serve.continuation import Continuation
from bedplate.serve.event_stream import EventStream, merged
from bedplate.serve.fields import parsed
from bedplate.serve.local_writer import LocalWriter
from bedplate.serve.service import Service
from bedplate.serve.work import Work, collected


async def chat(service: Service, request: Request) -> Response:
    """Answer a conversation, whole or as a stream."""
    body = await read_body(request)
    return await while_connected(request, _answer(service, body), service.timeout)


async def _answer(service: Service, body: bytes) -> Response:
    asked = await service.off_loop(lambda: read_chat(parsed(body)))
    writer = service.catalogue.writer(asked.model)
    params = writer.params(asked.sampling)
    if asked.logprobs and not writer.tells_tokens:
        raise refused(f"model {asked.model!r} tells no log-probabilities", "logprobs", "unsupported_parameter")
    tokenizer = writer.tokenizer if asked.logprobs and isinstance(writer, LocalWriter) else None
    shape = ChatShape(asked.model, tokenizer)
    with Work(writer.admission.enter(asked.sampling.choices).leave) as work:
        ready = await service.off_loop(partial(writer.ready, asked.messages, asked.tools))
        begun = [writer.begin(ready, params, seed, service.off_loop) for seed in asked.sampling.seeds()]
        work.under_way = begun
        if asked.stream:
            events = _events(shape, begun, usage=asked.usage, logprobs=asked.logprobs)
            return EventStream(events, explain=service.explain, on_end=work.hand_over(), timeout=service.timeout)
        return JSONResponse(shape.whole(await collected(begun)))


async def _events(
    shape: ChatShape, continuations: Sequence[Continuation], *, usage: bool, logprobs: bool
) -> AsyncGenerator[dict[str, Any]]:
    choices = [Choice() for _ in continuations]
    for index in range(len(choices)):
        yield shape.first(index)
    async with aclosing(merged(continuations)) as pieces:
        async for index, piece in pieces:
            tokens = choices[index].take(piece)
            if piece.text or (tokens and logprobs):
                yield shape.piece(index, piece.text, tokens)
            if piece.answer is not None:
                yield shape.last(index, choices[index])
    if usage:
        yield shape.usage(choices)
