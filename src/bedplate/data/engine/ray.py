"""`RayCluster`: the same tasks on a Ray cluster. Tasks meet in files, so all nodes must see the run's folder.

https://docs.ray.io/en/latest/ray-core/tasks.html
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from bedplate.data.engine.deaths import Answer, after_death, attempt
from bedplate.data.engine.journal import TOO_LONG, any_place
from bedplate.data.engine.patience import Stay
from bedplate.data.engine.tasks import Job
from bedplate.data.extra import require


class RayCluster:
    """Ray's workers: those of the cluster that RAY_ADDRESS names, or of one that is started here for the purpose.

    workers: tasks at once; None: as many as the cluster has processors for. patience_s: how long one document may take,
    by the clock, before its worker is ended; the document is counted as failed when it happened twice.
    """

    def __init__(self, workers: int | None, *, patience_s: float = 120.0) -> None:
        self.workers = workers
        self.patience_s = patience_s

    def run(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """Carry out each job; see `Scheduler`. Raises InternalError where a worker dies and nothing says of what."""
        if not jobs:
            return
        ray = _connected(self.workers)
        remote = ray.remote(num_cpus=1, max_retries=0)(attempt)
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
            answer: Answer = ray.get(reference)
        except ray.exceptions.RayError:
            how = TOO_LONG if going.late else "ended its process"
            return after_death(going.job, any_place(going.job.target), how)
        if answer is None:
            return None
        kind, problem, fix = answer
        error_of_task: BaseException = kind(problem, fix)
        return error_of_task


class _Running:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.late = False
        self._stay = Stay()

    def overdue(self, patience_s: float) -> bool:
        """Whether it has been at one and the same document for too long."""
        self.late = self.late or self._stay.seconds(any_place(self.job.target)) > patience_s
        return self.late


def _connected(workers: int | None) -> Any:  # ray's own types don't cover what is imported lazily
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing phones home
    ray = require("ray", "engine: ray", extra="ray")
    if not ray.is_initialized():
        here = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers, "include_dashboard": False}
        ray.init(log_to_driver=False, logging_level="ERROR", **here)
    return ray
