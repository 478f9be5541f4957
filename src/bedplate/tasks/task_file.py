"""A task from a file: JSON Lines or CSV of text and label, of prompt and answer, or of messages.

What is wrong with the examples is found here, before anything is fitted or written: missing fields, empty texts, one
class only, labels that training lacks, two labels of one text, test rows inside training.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from bedplate.errors import InputError, RecipeError
from bedplate.ledger.digests import sha256_file
from bedplate.ledger.stage import SourceInput
from bedplate.tasks.examples import Example, Task
from bedplate.tasks.task_fields import Fields, Settings, find_fields, read_example
from bedplate.tasks.task_rows import Row, read_rows
from bedplate.tasks.task_split import (
    Splits,
    by_column,
    by_hash,
    check_apart,
    check_classes,
    check_shares,
    check_sizes,
    hash_share,
)

TASK_FILE = "task.jsonl"
TASK_FACTS = "task.json"
"""What a `task` artefact holds: the examples, and {"name", "description"} of them."""


def load_task(config: Settings, folder: Path | None = None) -> Task:
    """The task that a configuration describes; `folder` is the `task` artefact's where `config.file` is absent.

    Raises InputError naming file, line and field for examples that can't be used, RecipeError for settings.
    """
    path, facts = _place(config, folder)
    rows = read_rows(path)
    fields = find_fields(config, path, rows[0])
    examples = [read_example(fields, path, row) for row in rows]
    files = {path: {example.id for example in examples}}
    ours = config.split is None and config.test_file is None
    check_shares(config.validation, 0.0 if config.test_file or config.split else config.test)
    if config.test_file is not None:
        tests = _test_examples(config, fields, Path(config.test_file))
        files[Path(config.test_file)] = {example.id for example in tests}
        splits = _given(config, examples, rows, path)
        if splits["test"]:
            raise InputError(
                f"{path} line {splits['test'][0].row}: a test example, while the test set is {config.test_file}",
                "Give the test set in one place: task.split or task.test_file.",
            )
        splits["test"] = tests
    elif config.split is not None:
        splits = _given(config, examples, rows, path)
    else:
        splits = by_hash(examples, config.validation, config.test)

    def place(example: Example) -> str:
        if len(files) == 1:
            return f"line {example.row}"
        return f"{next(file for file, ids in files.items() if example.id in ids)} line {example.row}"

    try:
        if fields.kind == "classification":
            check_classes(splits, place, split_is_ours=ours)
    except InputError as error:
        raise InputError(f"{path}: {error.problem}", error.fix) from error
    check_sizes(splits, path)
    if not ours:
        try:
            check_apart(splits, place)
        except InputError as error:
            raise InputError(f"{path}: {error.problem}", error.fix) from error
    return _task(config, fields, splits, path, facts)


def limited(task: Task, *, labels: int | None, validation: int | None, seed: int = 0) -> Task:
    """The task with at most `labels` training and `validation` validation examples.

    Fixed by a hash of seed and text; stratified: at least one of each class, then in proportion; and nested: of 400
    examples 200 are those that 200 would have given. The order of what stays is the task's own. Raises RecipeError
    where `labels` is less than the number of classes.
    """
    if labels is not None and labels < len(task.classes):
        raise RecipeError(
            f"budget.labels {labels}: fewer than the task's {len(task.classes)} classes",
            f"Allow at least {len(task.classes)}.",
        )
    return dataclasses.replace(
        task,
        train=chosen(task.train, labels, f"train {seed}", stratified=task.kind == "classification"),
        validation=chosen(task.validation, validation, f"validation {seed}", stratified=task.kind == "classification"),
    )


def chosen(examples: Sequence[Example], most: int | None, salt: str, *, stratified: bool) -> tuple[Example, ...]:
    """At most `most` of the examples, fixed by `salt` and their texts; as `limited` says."""
    if most is None or most >= len(examples):
        return tuple(examples)
    order = sorted(examples, key=lambda example: (hash_share(example.input, salt), example.id))
    if stratified:
        classes: dict[str, list[Example]] = {}
        for example in order:
            classes.setdefault(example.target, []).append(example)
        # The first of each class, then every class at the same pace: its j-th of n examples stands at j / n.
        places = {
            example.id: (number > 0, number / len(members) if number else -len(members))
            for members in classes.values()
            for number, example in enumerate(members)
        }
        order.sort(key=lambda example: places[example.id])  # stable: by the hash otherwise
    kept = {example.id for example in order[:most]}
    return tuple(example for example in examples if example.id in kept)


def task_sources(config: Settings) -> list[SourceInput]:
    """The task's files as raw inputs. Raises InputError for one that is missing."""
    sources = []
    for name in (config.file, config.test_file):
        if name is None:
            continue
        path = Path(name)
        if not path.is_file():
            raise InputError(
                f"{path}: {'a folder, not a task file' if path.is_dir() else 'no such task file'}", "Check the path."
            )
        sources.append(SourceInput(path=path, digest=sha256_file(path), bytes=path.stat().st_size))
    return sources


def _place(config: Settings, folder: Path | None) -> tuple[Path, dict[str, str]]:
    if config.file is not None:
        return Path(config.file), {}
    if folder is None:
        raise RecipeError("task.file: missing", "Give a JSONL or CSV file of examples, or inputs: {task: ...}.")
    try:
        facts = json.loads((folder / TASK_FACTS).read_bytes())
    except FileNotFoundError:
        facts = {}
    except ValueError as error:
        raise InputError(f"{folder / TASK_FACTS}: not JSON: {error}", "Make the task artefact again.") from error
    return folder / TASK_FILE, {str(key): str(value) for key, value in facts.items()}


def _test_examples(config: Settings, fields: Fields, path: Path) -> list[Example]:
    rows = read_rows(path)
    theirs = find_fields(config, path, rows[0])
    if theirs.kind != fields.kind:
        raise InputError(
            f"{path}: a task of {theirs.kind}, while {config.file} is one of {fields.kind}",
            "Give both files the same fields.",
        )
    return [read_example(theirs, path, row) for row in rows]


def _given(config: Settings, examples: list[Example], rows: list[Row], path: Path) -> Splits:
    """As the split column says, or all for training; validation comes from training by hash where nothing says it."""
    if config.split is None:
        return by_hash(examples, config.validation, 0.0)
    splits = by_column(examples, rows, config.split, path)
    if not splits["validation"]:
        parts = by_hash(splits["train"], config.validation, 0.0)
        splits["train"], splits["validation"] = parts["train"], parts["validation"]
    return splits


def _task(config: Settings, fields: Fields, splits: Splits, path: Path, facts: dict[str, str]) -> Task:
    classes = sorted({example.target for example in splits["train"]}) if fields.kind == "classification" else []
    if config.label_texts is not None and (unknown := sorted(set(config.label_texts) - set(classes))):
        raise RecipeError(
            f"task.label_texts: {unknown[0]!r} isn't a label of {path}",
            f"Its labels: {', '.join(classes[:30])}{' ...' if len(classes) > 30 else ''}",
        )
    return Task(
        name=facts.get("name", path.stem),
        kind=fields.kind,
        classes=tuple(classes),
        train=tuple(splits["train"]),
        validation=tuple(splits["validation"]),
        test=tuple(splits["test"]),
        description=config.description or facts.get("description"),
        label_texts=dict(config.label_texts) if config.label_texts is not None else None,
    )
