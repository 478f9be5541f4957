"""A base elsewhere that keeps us waiting: who left holds a place for as long as the request is under way there."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from bedplate.adapt.face import Answer, Prepared
from bedplate.generate.generation import Usage
from bedplate.generate.params import SamplingParams
from bedplate.serve.admission import Admission
from bedplate.serve.api_error import ApiError
from bedplate.serve.continuation import Ready
from bedplate.serve.endpoint_writer import EndpointWriter
from bedplate.serve.pool_job import PoolJob
from bedplate.serve.work import Work, collected


class Slow:
    """A face, and its base, that answers once it is let."""

    def __init__(self):
        self.base, self.go, self.asked = self, threading.Event(), 0

    def stream(self, messages, params):
        self.asked += 1
        self.go.wait(30)
        yield "yes"
        return Answer("yes", Usage(1, 1))

    def finish(self, prepared, answer):
        return answer


def begin(writer):
    ready = Ready(Prepared([{"role": "user", "content": "hi"}]), [])
    return writer.begin(ready, SamplingParams(), None, None)


async def eventually(condition):
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("not in time")


def test_places_are_given_back_when_the_request_ends():
    async def script():
        face, admission = Slow(), Admission(1, 1)
        writer = EndpointWriter("far", face, admission, holds=False)
        for _ in range(2):  # the second waits for the thread, and is dropped
            with Work(admission.enter(1).leave) as work:
                work.under_way = [begin(writer)]
                await eventually(lambda: face.asked == 1)
        await eventually(lambda: admission.load == 1)
        admission.enter(1).leave()
        with pytest.raises(ApiError):
            admission.enter(2)
        face.go.set()
        await eventually(lambda: admission.load == 0)
        with Work(admission.enter(1).leave) as work:
            work.under_way = begun = [begin(writer)]
            assert (await collected(begun))[0].text == "yes"
        await eventually(lambda: admission.load == 0)
        assert face.asked == 2
        writer.pool.stop()

    asyncio.run(script())


def test_a_job_is_called_off_between_two_parts():
    async def script():
        writer = EndpointWriter("far", Slow(), Admission(1, 1), holds=False)
        done, closed = [], []

        def parts(count):
            try:
                for i in range(count):
                    done.append(i)
                    yield
                return "all"
            finally:
                closed.append(count)

        assert await PoolJob(writer.pool, parts(3)).result() == "all"
        job = PoolJob(writer.pool, parts(10**9))
        await eventually(lambda: len(done) > 10)
        job.cancel()
        job.when_over(lambda: closed.append("over"))
        await eventually(lambda: closed[-1] == "over")
        assert closed == [3, 10**9, "over"]
        writer.pool.stop()

    asyncio.run(script())


def test_a_thread_that_hangs_does_not_keep_the_process():
    program = (
        "import time; from bedplate.serve.daemon_pool import DaemonPool\n"
        "pool = DaemonPool(2, 'x'); pool.submit(lambda: time.sleep(60)); time.sleep(0.2); pool.stop()"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=20, check=False).returncode == 0
