"""`EndpointWriter`: a face whose base is somebody else's server; each answer is a request there."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from bedplate.adapt.face import Answerer, Message, Prepared
from bedplate.errors import BedplateError
from bedplate.generate.params import SamplingParams
from bedplate.serve.admission import Admission
from bedplate.serve.api_error import ApiError, refused
from bedplate.serve.continuation import Continuation, Given, OffLoop, Piece, Ready
from bedplate.serve.daemon_pool import DaemonPool
from bedplate.serve.local_writer import face_defaults, prepared_by
from bedplate.serve.sampling_fields import MAX_TOKENS, Sampling

BEHIND = 256
"""Pieces that wait for a client to read; then the endpoint isn't read on either."""


class EndpointWriter:
    """As many requests at once as the admission has slots, each in a thread of its own. holds: whether an answer may
    only be shown once the face has finished it."""

    tells_tokens = False

    def __init__(self, name: str, face: Answerer, admission: Admission, *, holds: bool) -> None:
        self.name, self.face, self.admission, self.holds = name, face, admission, holds
        self.pool = DaemonPool(admission.slots, "bedplate-endpoint")

    def ready(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None) -> Ready:
        if tools or any(m["role"] == "tool" or m.get("tool_calls") for m in messages):
            raise refused(f"model {self.name!r} knows no tools", "tools" if tools else "messages")
        return Ready(prepared_by(self.face, self.name, messages), [])

    def params(self, sampling: Sampling) -> SamplingParams:
        return sampling.params(face_defaults(self.face, MAX_TOKENS), MAX_TOKENS)

    def begin(self, ready: Ready, params: SamplingParams, seed: int | None, off_loop: OffLoop) -> Continuation:
        if ready.prepared.answer is not None:
            return Given(ready.prepared.answer)
        return EndpointContinuation(self, ready.prepared, params if seed is None else replace(params, seed=seed))


class EndpointContinuation:
    """Pieces as the endpoint sends them, or the whole once the face has finished it."""

    def __init__(self, writer: EndpointWriter, prepared: Prepared, params: SamplingParams) -> None:
        self._writer, self._prepared, self._params = writer, prepared, params
        self._queue: asyncio.Queue[Piece | Exception] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._wanted = True
        self._room = threading.Semaphore(BEHIND)
        self._job: Future[None] = writer.pool.submit(self._run)

    async def pieces(self) -> AsyncIterator[Piece]:
        while True:
            piece = await self._queue.get()
            self._room.release()
            if isinstance(piece, Exception):
                raise piece
            yield piece
            if piece.answer is not None:
                return

    def cancel(self) -> None:
        self._wanted = False
        self._room.release()
        self._job.cancel()

    def when_over(self, call: Callable[[], None]) -> None:
        """Its thread can't be stopped while it waits for the endpoint: until then it is a request under way there."""

        def over(_: Future[None]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(call)

        self._job.add_done_callback(over)

    # -- in a thread of the pool ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        face, holds = self._writer.face, self._writer.holds
        try:
            with contextlib.closing(face.base.stream(self._prepared.messages, self._params)) as stream:
                while self._wanted:
                    try:
                        piece = next(stream)
                    except StopIteration as end:
                        answer = face.finish(self._prepared, end.value)
                        self._put(Piece(answer.text if holds else "", None, answer))
                        return
                    if not holds:
                        self._put(Piece(piece))
        except BedplateError as error:  # it names the address, which is for the log and not for clients
            problem = ApiError(502, f"the server behind model {self._writer.name!r} didn't answer", code="upstream")
            problem.__cause__ = error
            self._put(problem)
        except Exception as error:
            self._put(error)

    def _put(self, piece: Piece | Exception) -> None:
        self._room.acquire()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there to hear
            self._loop.call_soon_threadsafe(self._queue.put_nowait, piece)
