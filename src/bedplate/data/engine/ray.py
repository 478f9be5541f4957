"""`RayCluster`: the same tasks on a Ray cluster. Tasks meet in files, so all nodes must see the run's folder.

https://docs.ray.io/en/latest/ray-core/tasks.html
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from bedplate.data.engine.journal import any_place
from bedplate.data.engine.tasks import Job, execute
from bedplate.data.extra import require
from bedplate.errors import BedplateError, InternalError


class RayCluster:
    """Ray's workers: those of the cluster that RAY_ADDRESS names, or of one that is started here for the purpose.

    workers: tasks at once; None: as many as the cluster has processors for. patience_s: how long one document may take
    before its worker is ended and the document counted as failed.
    """

    def __init__(self, workers: int | None, *, patience_s: float = 120.0) -> None:
        self.workers = workers
        self.patience_s = patience_s

    def run(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """Carry out each job; see `Scheduler`. Raises InternalError where a worker dies and nothing says of what."""
        if not jobs:
            return
        ray = _connected(self.workers)
        remote = ray.remote(num_cpus=1, max_retries=0)(_outcome)
        waiting = list(reversed(jobs))
        running: dict[Any, _Running] = {}
        errors: dict[int, BaseException] = {}
        limit = self.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        while running or (waiting and not errors):
            while waiting and len(running) < limit and not errors:
                job = waiting.pop()
                running[remote.remote(job)] = _Running(job)
            done, _ = ray.wait(list(running), timeout=1.0)
            for reference in done:
                going = running.pop(reference)
                outcome = self._result(ray, reference, going)
                if outcome is None:
                    yield going.job
                elif isinstance(outcome, Job):
                    waiting.append(outcome)
                else:
                    errors[going.job.task.number] = outcome
            for reference, going in running.items():
                if going.overdue(self.patience_s):
                    ray.cancel(reference, force=True)
        if errors:
            raise errors[min(errors)]

    def close(self) -> None:
        """The cluster stays as it is: it may be somebody else's."""

    def _result(self, ray: Any, reference: Any, going: _Running) -> BaseException | Job | None:
        try:
            answer = ray.get(reference)
        except ray.exceptions.RayError as error:
            at = any_place(going.job.target)
            how = "took too long" if going.late else "ended its process"
            advice = None if at is None else going.job.advice.learn(at, how)
            if advice is not None:
                return replace(going.job, advice=advice)
            return InternalError(f"{going.job.target.parent.name}, task {going.job.task.number}: {error}")
        if answer is None:
            return None
        kind, problem, fix = answer
        error_of_task: BaseException = kind(problem, fix)
        return error_of_task


class _Running:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.late = False
        self._at: object = None
        self._since = time.monotonic()

    def overdue(self, patience_s: float) -> bool:
        """Whether it has been at one and the same document for too long."""
        at = any_place(self.job.target)
        if at is None or at != self._at:
            self._at, self._since = at, time.monotonic()
            return False
        self.late = time.monotonic() - self._since > patience_s
        return self.late


def _connected(workers: int | None) -> Any:  # ray's own types don't cover what is imported lazily
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing phones home
    ray = require("ray", "engine: ray", extra="ray")
    if not ray.is_initialized():
        here = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers, "include_dashboard": False}
        ray.init(log_to_driver=False, logging_level="ERROR", **here)
    return ray


def _outcome(job: Job) -> tuple[type[BedplateError], str, str | None] | None:
    """Do a job on a worker: None, or the error in a form that can be sent."""
    try:
        execute(job)
    except BedplateError as error:
        return type(error), error.problem, error.fix
    return None
