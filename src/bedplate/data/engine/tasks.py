"""`perform`: one step of work as tasks, each of which leaves a folder that is there whole or not at all.

What a step is cut into depends on its input alone, never on who carries it out. So one worker and many, this machine
and a cluster, a run that was killed and one that wasn't leave the same bytes; and what is done is never done again.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bedplate.console import Console
from bedplate.data.engine.journal import Advice, partial_folder
from bedplate.ledger.atomic import storage_errors
from bedplate.ledger.stage import resolve

SILENT_S = 2.0
"""Seconds after which a step tells how far it is."""
DONE = "done.json"
"""What a task says when it is done: its measures, its processor time, the sizes of its files."""


@dataclass(frozen=True)
class Task:
    """One part of a step. arguments: picklable and small; what is large is in files that they name.

    A task that keeps a `Journal` gets `advice` among its arguments, of what earlier attempts died of.
    """

    number: int
    arguments: dict[str, Any]
    keeps_journal: bool = False


@dataclass(frozen=True)
class Job:
    """A task with the function that does it and the folder that it makes."""

    function: str
    task: Task
    target: Path
    advice: Advice = field(default_factory=Advice)


class Scheduler(Protocol):
    """Carries out jobs, in whatever order and wherever."""

    def run(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """Carry out each and give it back when it is done. Raises what the first of them (in their order) raised."""
        ...

    def close(self) -> None:
        """Let go of what the jobs so far needed; the next ones find it again."""
        ...


@dataclass(frozen=True)
class Run:
    """Where steps put their folders, who carries them out, and who is told."""

    folder: Path
    scheduler: Scheduler
    console: Console
    spent: list[float] = field(default_factory=list)
    """Processor seconds of each step that was performed, those of earlier attempts included."""


class InProcess:
    """The scheduler that does one job after the other, here."""

    def run(self, jobs: Sequence[Job]) -> Iterator[Job]:
        for job in jobs:
            execute(job)
            yield job

    def close(self) -> None:
        """There is nothing to let go of."""


def perform(step: str, function: str, tasks: Sequence[Task], run: Run) -> list[dict[str, Any]]:
    """Have every task of a step done that isn't yet, and give the measures of all in the tasks' order.

    function: "module:name", called as f(arguments, folder) -> measures (JSON-able). It writes into `folder`, which is
    fresh and becomes `run.folder/step/00012` when it returns. Each measure has `cpu_s` added.
    """
    folder = run.folder / step
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [Job(function, task, task_folder(folder, task.number)) for task in tasks]
    todo = [job for job in jobs if not is_done(job.target)]
    done = len(jobs) - len(todo)
    began, shown = time.monotonic(), None
    with ExitStack() as stack:
        for _ in run.scheduler.run(todo):
            done += 1
            # A step that is over in a moment isn't worth a line.
            if shown is None and time.monotonic() - began > SILENT_S:
                shown = stack.enter_context(run.console.progress(step, total=len(jobs), unit=""))
            if shown is not None:
                shown.update(done)
    measures = [read_done(job.target)["measures"] for job in jobs]
    run.spent.append(sum(measure["cpu_s"] for measure in measures))
    return measures


def task_folder(step_folder: Path, number: int) -> Path:
    """The folder of a step's task."""
    return step_folder / f"{number:05d}"


def execute(job: Job) -> None:
    """Do a job, here and now. Whatever an earlier attempt left is put away first."""
    job.target.parent.mkdir(parents=True, exist_ok=True)
    for left in job.target.parent.glob(f"{job.target.name}.tmp-*"):
        shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
    if job.target.exists():  # damaged
        shutil.rmtree(job.target)
    partial = partial_folder(job.target)
    partial.mkdir()
    began = time.process_time()
    function: Callable[[dict[str, Any], Path], dict[str, Any]] = resolve(job.function)
    advice = {"advice": job.advice} if job.task.keeps_journal else {}
    with storage_errors(partial, kept="the tasks that are done stay, and the same command goes on after them"):
        measures = function(job.task.arguments | advice, partial)
        measures["cpu_s"] = time.process_time() - began
        sizes = {path.name: path.stat().st_size for path in sorted(partial.iterdir())}
        (partial / DONE).write_text(json.dumps({"measures": measures, "files": sizes}))
        partial.rename(job.target)


def is_done(folder: Path) -> bool:
    """Whether a task's folder is there with its files whole, by their sizes: a machine that lost its power may have
    renamed a folder whose files it never wrote."""
    try:
        done = read_done(folder)
        return all((folder / name).stat().st_size == size for name, size in done["files"].items())
    except (OSError, ValueError, KeyError):
        return False


def read_done(folder: Path) -> dict[str, Any]:
    """What a finished task left: {"measures": ..., "files": {name: bytes}}."""
    found: dict[str, Any] = json.loads((folder / DONE).read_text())
    return found
