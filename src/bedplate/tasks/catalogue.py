"""The tasks that there are, by name, and where each lies under a data folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

from bedplate.errors import InputError, UserError
from bedplate.tasks.commonsense import read_arc, read_piqa
from bedplate.tasks.item import MultipleChoice, Task
from bedplate.tasks.mmlu import read_mmlu


@dataclass(frozen=True)
class Source:
    """How a task's rows are had: its place under the data folder, its reader, its number of worked examples."""

    place: str
    read: Callable[[Path], list[MultipleChoice]]
    shots: int


TASKS = {
    "arc_easy": Source("commonsense_qa/dataset/ARC-Easy/test.json", read_arc, 0),
    "arc_challenge": Source("commonsense_qa/dataset/ARC-Challenge/test.json", read_arc, 0),
    "piqa": Source("commonsense_qa/dataset/piqa/test.json", read_piqa, 0),
    "mmlu": Source("mmlu/data/mmlu", read_mmlu, 5),
}


def check_names(names: Sequence[str]) -> None:
    """Raise UserError for a task that there isn't, or where none is named."""
    if not names:
        raise UserError("no task is named", f"Tasks are: {', '.join(TASKS)}.")
    for name in names:
        _canonical(name)


def is_task(name: str) -> bool:
    """Whether there is such a task. Hyphens in the name count as underscores."""
    return name.replace("-", "_") in TASKS


def data_folder(given: Path | None) -> Path:
    """The folder given, else the one that the environment variable BEDPLATE_DATA names."""
    if given is None and not os.environ.get("BEDPLATE_DATA"):
        raise UserError(
            "no folder with the tasks' data is named",
            "Give --data FOLDER (in a recipe: task_data), or set the environment variable BEDPLATE_DATA.",
        )
    return given if given is not None else Path(os.environ["BEDPLATE_DATA"])


def load_task(name: str, data: Path, limit: int | None = None) -> Task:
    """The task's items from `data`; with a limit, the first ones, taken in turn from each subject.

    Hyphens in the name count as underscores. Raises UserError for an unknown task, InputError for data that
    is missing or broken.
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit {limit}: must be at least 1")
    known = _canonical(name)
    source = TASKS[known]
    items = source.read(_place(known, data))
    return Task(known, items if limit is None else _in_turn(items)[:limit], len(items), source.shots, source.place)


def task_files(name: str, data: Path) -> list[Path]:
    """The files that the task is read from, in a fixed order. Raises as `load_task`."""
    place = _place(_canonical(name), data)
    return [place] if place.is_file() else sorted([*place.glob("dev/*_dev.csv"), *place.glob("test/*_test.csv")])


def _canonical(name: str) -> str:
    if not is_task(name):
        raise UserError(f"unknown task {name!r}", f"Tasks are: {', '.join(TASKS)}.")
    return name.replace("-", "_")


def _place(known: str, data: Path) -> Path:
    place = data / TASKS[known].place
    if not place.exists():
        raise InputError(
            f"task {known}: no {TASKS[known].place} in {data}", f"Give the folder in which {TASKS[known].place} lies."
        )
    return place


def _in_turn(items: Sequence[MultipleChoice]) -> list[MultipleChoice]:
    """First item of every group, second of every group, ...: a limited run then sees all subjects."""
    groups: dict[str, list[MultipleChoice]] = {}
    for item in items:
        groups.setdefault(item.group, []).append(item)
    return [item for item in chain.from_iterable(zip_longest(*groups.values())) if item is not None]
