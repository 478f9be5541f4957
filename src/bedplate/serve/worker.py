"""`Worker`: the one thread that computes. It runs all models' sessions in turns, and other work between their steps.

The event loop only hands over work and takes what comes of it, so that it can answer others at any moment.

    lane = worker.lane(model)
    ticket = lane.submit(prompt_ids, params)        # in the event loop
    async for event in ticket: ...
    ticket.cancel()                                 # the slot is free before the next token

    vectors = await worker.compute(parts)           # an iterator: each `next` is one turn; its return value
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from functools import partial
from typing import Any, TypeVar

from bedplate.errors import InternalError
from bedplate.families.model import Model
from bedplate.generate.params import SamplingParams
from bedplate.generate.session import Event, Handle, Session
from bedplate.serve.api_error import ApiError

T = TypeVar("T")

PREFILL = 512
"""Prompt tokens read in one turn, when nobody gets a token: a quarter of a second for a small model on two cores."""

BEHIND = 2048
"""Tokens that wait for a client to read; a continuation that is further ahead is ended."""

Report = Callable[[str], None]
"""Told of what nobody expected, with its trace: for the server's log, never for a client."""


class Ticket:
    """One continuation under way. Made by `Lane.submit`; belongs to the event loop."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.handle: Handle | None = None
        self.cancelled = False
        self._events: asyncio.Queue[Event | Exception] = asyncio.Queue()

    def cancel(self) -> None:
        """Stop it if it isn't over. May be called at any time, and again."""
        if not self.cancelled:
            self.cancelled = True
            self.lane.cancel(self)

    async def events(self) -> AsyncIterator[Event]:
        """Its tokens as they come, the last with the generation. Raises the error that ended it."""
        while True:
            event = await self._events.get()
            if isinstance(event, Exception):
                raise event
            if event.error is not None:
                raise event.error
            yield event
            if event.generation is not None:
                return

    def put(self, event: Event | Exception) -> None:
        """Hand over an event; in the event loop. One whose client doesn't read its tokens is ended."""
        if self._events.qsize() >= BEHIND and not isinstance(event, Exception):
            self.cancel()
            event = ApiError(408, "the answer was read too slowly, and was broken off", code="read_too_slowly")
        self._events.put_nowait(event)


class Lane:
    """A model's session and who is in it."""

    def __init__(self, worker: Worker, model: Model, slots: int, cache_tokens: int | None) -> None:
        self.model, self.slots = model, slots
        self._worker, self._cache_tokens = worker, cache_tokens
        self._tickets: dict[int, Ticket] = {}
        self.session = self._new_session()

    def submit(self, prompt: Sequence[int], params: SamplingParams, seed: int | None = None) -> Ticket:
        """Queue a continuation; in the event loop."""
        ticket = Ticket(self)
        self._worker.post(lambda: self._begin(ticket, prompt, params, seed))
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        self._worker.post(lambda: self._stop(ticket))

    # -- in the worker's thread ----------------------------------------------------------------------------------------

    def turn(self) -> list[tuple[Ticket, Event | Exception]]:
        """A step of the session, if it has anything to do."""
        if not self.session.busy:
            return []
        try:
            events = self.session.step()
        except Exception:
            # A promise of the session is broken: whoever is in it hears so, and the lane goes on with a new one.
            self._worker.report(traceback.format_exc())
            failed, self._tickets = self._tickets, {}
            self.session = self._new_session()
            return [(ticket, InternalError("generating failed")) for ticket in failed.values()]
        out: list[tuple[Ticket, Event | Exception]] = []
        for event in events:
            over = event.error is not None or event.generation is not None
            ticket = self._tickets.pop(id(event.handle)) if over else self._tickets[id(event.handle)]
            out.append((ticket, event))
        return out

    def _begin(self, ticket: Ticket, prompt: Sequence[int], params: SamplingParams, seed: int | None) -> None:
        if ticket.cancelled:
            return
        try:
            ticket.handle = self.session.submit(prompt, params, seed=seed)
        except Exception as error:
            self._worker.deliver([(ticket, error)])
            return
        self._tickets[id(ticket.handle)] = ticket

    def _stop(self, ticket: Ticket) -> None:
        if ticket.handle is not None and self._tickets.pop(id(ticket.handle), None) is not None:
            self.session.cancel(ticket.handle)

    def give_up(self) -> list[tuple[Ticket, Event | Exception]]:
        """Everybody in it is told that there will be no more."""
        failed, self._tickets = self._tickets, {}
        return [(ticket, gone()) for ticket in failed.values()]

    def _new_session(self) -> Session:
        session = Session(self.model, self.slots, prefill=PREFILL, cache_tokens=self._cache_tokens)
        self.slots = session.slots
        return session


class Worker:
    """Runs until `stop`. report: told of what nobody expected."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.lanes: list[Lane] = []
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._computations: list[_Computation] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over, self._ending = False, threading.Lock()
        self._thread = threading.Thread(target=self._run, name="bedplate-worker", daemon=True)

    def lane(self, model: Model, slots: int, cache_tokens: int | None = None) -> Lane:
        """A new lane; before `start`."""
        self.lanes.append(Lane(self, model, slots, cache_tokens))
        return self.lanes[-1]

    def start(self) -> None:
        """In the event loop that will be served."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """End after the turn that is under way; what isn't over is given up."""
        self._inbox.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout=30)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and not self._over

    def post(self, action: Callable[[], None]) -> None:
        """Have something done between two turns. Once the thread has ended, who waits for it is told so."""
        self._inbox.put(action)
        if self._over:
            self._give_up()

    async def compute(self, parts: Generator[Any, None, T]) -> T:
        """Run a generator, a `next` a turn; what it returns. Where the caller is cancelled it isn't run further."""
        assert self._loop is not None
        computation = _Computation(parts, self._loop.create_future())
        self.post(lambda: self._computations.append(computation))
        try:
            result: T = await computation.future
        finally:
            computation.wanted = False
        return result

    def deliver(self, events: Sequence[tuple[Ticket, Event | Exception]]) -> None:
        """Hand events to the event loop, all at once."""
        if events:
            self._call(lambda: _hand_over(events))

    # -- in the worker's thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._take_in():
                for lane in self.lanes:
                    self.deliver(lane.turn())
                for computation in list(self._computations):
                    self._turn(computation)
        except BaseException:  # nothing above lets one through; should it happen, nobody may wait for ever
            self.report(traceback.format_exc())
        finally:
            self._over = True
            self._give_up()

    def _give_up(self) -> None:
        """Tell all who wait, those that were still to be taken in too; also by who posts once the thread has ended."""
        with self._ending:
            while True:
                try:
                    action = self._inbox.get_nowait()
                except queue.Empty:
                    break
                if action is not None:
                    with contextlib.suppress(Exception):
                        action()
            for lane in self.lanes:
                self.deliver(lane.give_up())
            computations, self._computations = self._computations, []
            for computation in computations:
                self._call(partial(computation.settle, None, gone()))

    def _take_in(self) -> bool:
        """Do what was posted, waiting for it where there is nothing else to do. False: stop."""
        idle = not self._computations and not any(lane.session.busy for lane in self.lanes)
        while True:
            try:
                action = self._inbox.get(block=idle)
            except queue.Empty:
                return True
            if action is None:
                return False
            try:
                action()
            except Exception:
                self.report(traceback.format_exc())
            idle = False

    def _turn(self, computation: _Computation) -> None:
        result: Any = None
        error: Exception | None = None
        if computation.wanted:
            try:
                next(computation.parts)
                return
            except StopIteration as end:
                result = end.value
            except Exception as failure:
                error = failure
        self._computations.remove(computation)
        try:
            computation.parts.close()
        finally:
            self._call(lambda: computation.settle(result, error))

    def _call(self, action: Callable[[], Any]) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there to hear
            self._loop.call_soon_threadsafe(action)


def gone() -> ApiError:
    """What clients are told once the worker has ended."""
    return ApiError(503, "this server has stopped computing; its log may say why", code="unavailable")


def _hand_over(events: Sequence[tuple[Ticket, Event | Exception]]) -> None:
    for ticket, event in events:
        if not ticket.cancelled:
            ticket.put(event)


class _Computation:
    def __init__(self, parts: Generator[Any, None, Any], future: asyncio.Future[Any]) -> None:
        self.parts, self.future, self.wanted = parts, future, True

    def settle(self, result: Any, error: Exception | None) -> None:
        if not self.future.done():
            if error is None:
                self.future.set_result(result)
            else:
                self.future.set_exception(error)
