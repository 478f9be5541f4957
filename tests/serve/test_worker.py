"""The worker's thread: what fails fails alone, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import time

import pytest
import torch

from bedplate.errors import InternalError, WeightsError
from bedplate.generate.params import SamplingParams
from bedplate.generate.session import Session
from bedplate.serve.admission import Admission
from bedplate.serve.api_error import ApiError
from bedplate.serve.worker import Worker

LONG = SamplingParams(max_tokens=400, ignore_eos=True)


def working(script, *models, slots=8):
    """Run `script(worker, *lanes)` in an event loop beside a worker."""
    reports = []

    async def run():
        worker = Worker(reports.append)
        lanes = [worker.lane(model, slots) for model in models]
        worker.start()
        try:
            return await asyncio.wait_for(script(worker, *lanes), 60)
        finally:
            worker.stop()
            assert not worker.alive

    return asyncio.run(run()), reports


async def text_of(ticket):
    return "".join([event.piece async for event in ticket.events()])


@pytest.fixture
def broken(random_model):
    """Its token 7 gives NaN."""
    broken = random_model(tie_word_embeddings=False)
    with torch.no_grad():
        broken.net.embed.weight[7] = float("nan")
    return broken


def test_nan_leaves_the_neighbours_alone(model, broken):
    """In the same lane, and in another model's."""

    async def script(worker, lane, other):
        bad, good, far = lane.submit([5, 7], LONG), lane.submit([5, 6], LONG), other.submit([5, 6], LONG)
        texts = asyncio.gather(text_of(good), text_of(far))
        with pytest.raises(WeightsError, match="NaN"):
            await text_of(bad)
        return await texts

    (good, far), reports = working(script, broken, model)
    assert good == broken.generate([[5, 6]], LONG)[0].text
    assert far == model.generate([[5, 6]], LONG)[0].text
    assert not reports


def test_a_broken_session_is_replaced(model, monkeypatch):
    """Whatever a step raises, those in it hear of it, and the next are served."""
    real = Session.step
    failing = []

    def step(self):
        if failing:
            raise ValueError(failing.pop())
        return real(self)

    monkeypatch.setattr(Session, "step", step)

    async def script(worker, lane):
        first = lane.submit([5, 6], LONG)
        failing.append("a promise is broken")
        with pytest.raises(InternalError):
            await text_of(first)
        return await text_of(lane.submit([5, 6], LONG))

    text, reports = working(script, model)
    assert text == model.generate([[5, 6]], LONG)[0].text
    assert "a promise is broken" in reports[0]


def test_a_bad_prompt_is_told_to_whom_it_belongs(model):
    async def script(worker, lane):
        good, bad = lane.submit([5, 6], LONG), lane.submit([9999], LONG)
        with pytest.raises(Exception, match="token 9999"):
            await text_of(bad)
        return await text_of(good)

    text, _ = working(script, model)
    assert text == model.generate([[5, 6]], LONG)[0].text


def test_cancelled_tickets_say_nothing_more(model):
    async def script(worker, lane):
        tickets = [lane.submit([5 + i], LONG) for i in range(12)]
        keep = tickets.pop(6)
        for i, ticket in enumerate(tickets):
            if i % 2:
                async for _ in ticket.events():
                    break
            ticket.cancel()
            ticket.cancel()
        text = await text_of(keep)
        return text, lane.session.active, lane.session.waiting

    (text, active, waiting), _ = working(script, model)
    assert text == model.generate([[11]], LONG)[0].text
    assert (active, waiting) == (0, 0)


def test_computations_take_turns_with_tokens(model):
    """A long computation doesn't hold up a stream, nor the stream it; one that nobody waits for is dropped."""
    turns, closed = [], []

    def parts(count, name):
        try:
            for _ in range(count):
                time.sleep(0.001)
                turns.append(name)
                yield
            return name
        finally:
            closed.append(name)

    async def script(worker, lane):
        ticket = lane.submit([5, 6], SamplingParams(max_tokens=50, ignore_eos=True))
        long = asyncio.ensure_future(worker.compute(parts(10**9, "long")))
        short = await worker.compute(parts(20, "short"))
        await text_of(ticket)
        long.cancel()
        with pytest.raises(asyncio.CancelledError):
            await long
        while "long" not in closed:
            await asyncio.sleep(0.01)
        return short

    short, _ = working(script, model)
    assert short == "short"
    assert 15 <= turns[: turns.index("short") + 60].count("short") <= 20


def test_a_computation_that_fails_fails_alone(model):
    def failing():
        yield
        raise ValueError("no")

    async def script(worker, lane):
        with pytest.raises(ValueError, match="no"):
            await worker.compute(failing())
        return await text_of(lane.submit([5, 6], LONG))

    text, _ = working(script, model)
    assert text == model.generate([[5, 6]], LONG)[0].text


def test_where_the_thread_dies_nobody_waits_for_ever(model, monkeypatch):
    """Those in it, those on their way in and those who come later are told."""

    def endless():
        while True:
            yield

    async def script(worker, lane):
        ticket = lane.submit([5, 6], LONG)
        computing = asyncio.ensure_future(worker.compute(endless()))
        await anext(ticket.events())

        def die():
            raise SystemExit

        monkeypatch.setattr(lane, "turn", die)
        later = lane.submit([5, 6], LONG)
        for waiting in (text_of(ticket), computing, text_of(later), text_of(lane.submit([5], LONG))):
            with pytest.raises(ApiError) as caught:
                await waiting
            assert caught.value.status == 503
        assert not worker.alive
        with pytest.raises(ApiError):
            await worker.compute(endless())

    _, reports = working(script, model)
    assert "SystemExit" in reports[0]


def test_a_ticket_that_nobody_reads_is_ended(model, monkeypatch):
    monkeypatch.setattr("bedplate.serve.worker.BEHIND", 20)

    async def script(worker, lane):
        ticket = lane.submit([5, 6], LONG)
        while not ticket.cancelled:
            await asyncio.sleep(0.01)
        with pytest.raises(ApiError, match="too slowly"):
            await text_of(ticket)
        return await text_of(lane.submit([5, 6], SamplingParams(max_tokens=5))), lane.session.active

    (text, active), _ = working(script, model)
    assert text == model.generate([[5, 6]], SamplingParams(max_tokens=5))[0].text
    assert active == 0


def test_what_can_never_be_let_in_is_not_told_to_come_back():
    with pytest.raises(ApiError, match=r"6 answers .* takes on 5") as caught:
        Admission(2, 3).enter(6)
    assert caught.value.status == 400


def test_admission_counts_and_gives_back():
    admission = Admission(2, 3)
    places = [admission.enter(2), admission.enter(3)]
    with pytest.raises(ApiError) as caught:
        admission.enter(1)
    assert caught.value.status == 429
    assert caught.value.headers["Retry-After"] == "3"
    places[0].leave()
    places[0].leave()
    assert admission.load == 3
    with admission.entered(2):
        assert admission.load == 5
    places[1].leave()
    assert admission.load == 0
