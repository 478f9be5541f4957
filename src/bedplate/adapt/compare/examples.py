"""The task of a comparison: read, checked against the budget and every way, with the test sample that all share."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from bedplate.adapt.compare.config import CompareConfig
from bedplate.adapt.stage import check_kind
from bedplate.adapt.ways import TaskConfig, described
from bedplate.errors import RecipeError
from bedplate.ledger.atomic import atomic_write
from bedplate.tasks.examples import Example, Task
from bedplate.tasks.task_file import chosen, limited, load_task


@dataclasses.dataclass(frozen=True)
class Prepared:
    """task: with training and validation cut to the budget and `test` the sample. available: test examples before."""

    task: Task
    available: int
    train_available: int


def prepared(config: CompareConfig, folder: Path | None) -> Prepared:
    """The task of the configuration; `folder` is the `task` artefact's. Raises InputError and RecipeError for all that
    is wrong with it, the budget and the ways on it."""
    whole = load_task(config.task or TaskConfig.model_validate({}), folder)
    task = limited(whole, labels=config.budget.labels, validation=config.budget.validation)
    for way in config.ways:
        try:
            check_kind(way, task)
        except RecipeError as error:
            raise RecipeError(f"way {described(way)!r}: {error.problem}", error.fix) from error
    test = chosen(whole.test, config.test, "test", stratified=False)
    return Prepared(dataclasses.replace(task, test=test), len(whole.test), len(whole.train))


def write_examples(path: Path, examples: tuple[Example, ...]) -> None:
    """One example a line."""
    lines = (json.dumps(dataclasses.asdict(example), ensure_ascii=False) + "\n" for example in examples)
    atomic_write(path, "".join(lines))


def read_examples(path: Path) -> list[Example]:
    """What `write_examples` wrote."""
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line)
    return [Example(**{**row, "turns": tuple(row["turns"])}) for row in rows]
