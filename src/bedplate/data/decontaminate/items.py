"""Evaluation items as texts to look for: of the tasks that the evaluator knows, and of any file with rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedplate.data.decontaminate.config import DecontaminateConfig, EvaluationFile
from bedplate.data.row_files import read_rows
from bedplate.errors import InputError
from bedplate.ledger.digests import sha256_file, sha256_json
from bedplate.tasks.catalogue import check_names, data_folder, load_task, task_files
from bedplate.tasks.item import FEWSHOT_DELIMITER, MultipleChoice

_PARAGRAPHS = (".txt", ".md")


@dataclass(frozen=True, slots=True)
class EvaluationItem:
    """One item. passages: the texts that give it away, each by itself: its question, its right answer."""

    task: str
    id: str
    passages: tuple[str, ...]


@dataclass(frozen=True)
class Origin:
    """What items of an index were read from: the task, its place (no absolute path), and a SHA-256 of its bytes."""

    task: str
    place: str
    sha256: str


def evaluation_items(config: DecontaminateConfig) -> tuple[list[EvaluationItem], list[Origin]]:
    """All items that the configuration names, in its order. Raises InputError or UserError for a task that there isn't
    or that has no items, a file that can't be read or lacks a field, two tasks of one name."""
    items: list[EvaluationItem] = []
    origins: list[Origin] = []
    if config.tasks:
        check_names(config.tasks)
    data = data_folder(None if config.task_data is None else Path(config.task_data)) if config.tasks else Path()
    for name in config.tasks:
        task = load_task(name, data)
        paths = task_files(name, data)
        digest = sha256_file(paths[0]) if len(paths) == 1 else sha256_json([sha256_file(path) for path in paths])
        origins.append(Origin(task.name, task.source, digest))
        items += _checked(task_items(task.name, task.items), f"task {task.name}")
    for file in config.files:
        path = Path(file.path)
        found = _checked(list(file_items(file)), file.path)
        origins.append(Origin(found[0].task, path.name, sha256_file(path)))
        items += found
    names = [origin.task for origin in origins]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"decontaminate: two tasks are called {twice[0]!r}", "Give one of the files a `name`.")
    return items, origins


def task_items(name: str, items: Sequence[MultipleChoice]) -> list[EvaluationItem]:
    """Items of a task without their prompts' frame, which is what all of a group begin and end with: worked examples,
    "Question:", "Answer:". Where the choices are letters, the question without the choices counts too."""
    groups: dict[str, list[str]] = {}
    for item in items:
        groups.setdefault(item.group, []).append(item.context)
    frames = {group: _frame(contexts) for group, contexts in groups.items()}
    found = []
    for item in items:
        before, after = frames[item.group]
        text = item.context[before : len(item.context) - after].strip()
        if not text:
            text = item.context.rpartition(FEWSHOT_DELIMITER)[2]
        right = item.choices[item.answer]
        more = right if len(right) > 1 else re.split(rf"\n{re.escape(item.choices[0])}[.)] ", text)[0]
        found.append(EvaluationItem(name, item.id, tuple(dict.fromkeys((text, more)))))
    return found


def file_items(file: EvaluationFile) -> Iterator[EvaluationItem]:
    """The items of a file. Raises InputError for one without the named fields in any row."""
    path = Path(file.path)
    name = file.name or path.stem.replace(":", "_").replace(";", "_")
    if path.suffix.lower() in _PARAGRAPHS:
        if file.fields or file.id_field:
            raise InputError(f"{path}: a text file has no fields", "Leave out `fields` and `id_field`.")
        yield from _paragraphs(name, path)
        return
    if not file.fields:
        raise InputError(
            f"{path}: which of its fields to look for isn't said", "Name them: fields: [question, answer]."
        )
    missing = dict.fromkeys((*file.fields, *([file.id_field] if file.id_field else [])))
    seen: dict[str, None] = {}
    for number, row in enumerate(read_rows(path), 1):
        for field in [field for field in missing if field in row.values]:
            del missing[field]
        seen.update(dict.fromkeys(row.values))
        texts = tuple(text for field in file.fields for text in _texts(row.values.get(field)))
        yield EvaluationItem(name, str(row.values.get(file.id_field, number)) if file.id_field else str(number), texts)
    if missing:
        raise InputError(
            f'{path}: no field "{next(iter(missing))}" in it (fields: {", ".join(map(str, seen))})',
            "Correct `fields` or `id_field`.",
        )


def _paragraphs(name: str, path: Path) -> Iterator[EvaluationItem]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", "Correct the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a text file in UTF-8: {error}", "Convert it, or correct the path.") from error
    paragraphs = [paragraph for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip()]
    for number, paragraph in enumerate(paragraphs, 1):
        yield EvaluationItem(name, str(number), (paragraph.strip(),))


def _texts(value: Any) -> Iterator[str]:
    """The texts in a field's value, however deep they are."""
    if isinstance(value, str):
        if value.strip():
            yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _frame(contexts: Sequence[str]) -> tuple[int, int]:
    """How many characters of each are the same at the beginning and at the end, up to whole words."""
    return _common(contexts), _common([context[::-1] for context in contexts])


def _common(texts: Sequence[str]) -> int:
    """How many characters all begin with, up to a space. What the least and the greatest share all share."""
    one, other = min(texts), max(texts)
    same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    while same and not one[same - 1].isspace():
        same -= 1
    return same


def _checked(items: list[EvaluationItem], where: str) -> list[EvaluationItem]:
    if not items:
        raise InputError(f"{where}: no evaluation items in it", "Leave it out, or give one that has some.")
    return items
