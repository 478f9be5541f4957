"""`LocalProcesses`: tasks by worker processes of this machine. One that dies takes one document with it at most."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from bedplate.data.engine.deaths import Answer, after_death, attempt
from bedplate.data.engine.journal import TOO_LONG, last_place
from bedplate.data.engine.patience import Stay
from bedplate.data.engine.tasks import Job

_LOOK_S = 1.0


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    job: Job | None = None
    stay: Stay = field(default_factory=Stay)
    overdue: bool = False


class LocalProcesses:
    """Worker processes, started fresh (never forked), that end with their master however it ends.

    patience_s: how long one document may take, by its worker's `Stay`, before that is ended; the document is counted as
    failed when it happened twice. Workers stay for the next step, until `close`.
    """

    def __init__(self, workers: int, *, patience_s: float = 120.0) -> None:
        self.workers = workers
        self.patience_s = patience_s
        self._workers: list[_Worker] = []

    def run(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """Carry out each job; see `Scheduler`. Raises InternalError where a worker dies and nothing says of what."""
        waiting = list(reversed(jobs))
        errors: dict[int, BaseException] = {}
        workers = self._workers
        workers += [_start() for _ in range(min(self.workers, len(jobs)) - len(workers))]
        try:
            while True:
                for place, worker in enumerate(workers):
                    if worker.job is None and waiting and not errors:
                        if not worker.process.is_alive():
                            worker.pipe.close()
                            workers[place] = worker = _start()
                        worker.job, worker.stay = waiting.pop(), Stay(worker.process.pid)
                        with suppress(OSError):  # it died just now, which is found below
                            worker.pipe.send(worker.job)
                busy = [worker for worker in workers if worker.job is not None]
                if not busy:
                    break
                ready = set(wait([worker.pipe for worker in busy], timeout=_LOOK_S))
                for worker in busy:
                    if worker.pipe not in ready:
                        self._look_after(worker)
                        continue
                    job, outcome = _outcome(worker)
                    if outcome is None:
                        yield job
                    elif isinstance(outcome, Job):
                        # Where memory was short, it has its best chance when the others are done.
                        short = worker.process.exitcode == -signal.SIGKILL and not worker.overdue
                        waiting.insert(0 if short else len(waiting), outcome)
                    else:
                        errors[job.task.number] = outcome
            if errors:
                raise errors[min(errors)]
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the workers, and what they are at."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.pipe.close()  # an idle worker ends by that
            if worker.job is not None:
                worker.process.kill()
        for worker in workers:
            worker.process.join()

    def _look_after(self, worker: _Worker) -> None:
        """End a worker that has been at one and the same document for too long."""
        assert worker.job is not None
        at = last_place(worker.job.target, worker.process.pid or 0)
        if worker.stay.seconds(at) > self.patience_s:
            worker.overdue = True
            worker.process.kill()


def _start() -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, os.getpid()), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _outcome(worker: _Worker) -> tuple[Job, BaseException | Job | None]:
    """The job that a worker was at, and its error, or the job to be done in its stead, or None where it is done."""
    job, worker.job = worker.job, None
    assert job is not None
    try:
        answer: Answer = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        code = worker.process.exitcode or 0
        how = f"ended its process (signal {-code})" if code < 0 else f"ended its process (exit code {code})"
        return job, after_death(
            job, last_place(job.target, worker.process.pid or 0), TOO_LONG if worker.overdue else how
        )
    if answer is None:
        return job, None
    kind, problem, fix = answer
    return job, kind(problem, fix)


def _work(pipe: Connection, master: int) -> None:
    """A worker's life: a job, an answer, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the master hears it, and ends its workers
    threading.Thread(target=_end_with, args=(master,), daemon=True).start()
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        answer = attempt(job)
        _give_memory_back()
        pipe.send(answer)


def _give_memory_back() -> None:
    """Let the system have what a task used and the next one won't: workers would add up the largest of each kind.

    pyarrow's pool and glibc's allocator keep what was freed; both give it back when asked.
    """
    if (pyarrow := sys.modules.get("pyarrow")) is not None:
        pyarrow.default_memory_pool().release_unused()
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def _end_with(master: int) -> None:
    while os.getppid() == master:
        time.sleep(0.25)
    os._exit(1)
