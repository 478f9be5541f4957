"""From rows to examples: which fields hold text, class, prompt and answer, and what each row has in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from bedplate.errors import InputError, RecipeError
from bedplate.tasks.examples import Example
from bedplate.tasks.task_rows import Row

TEXTS = ("text",)
LABELS = ("label", "category")
PROMPTS = ("prompt", "question")
ANSWERS = ("answer", "completion")


class Settings(Protocol):
    """What a task's configuration says (`adapt.ways.TaskConfig`)."""

    @property
    def file(self) -> str | None: ...
    @property
    def test_file(self) -> str | None: ...
    @property
    def text(self) -> str | None: ...
    @property
    def label(self) -> str | None: ...
    @property
    def prompt(self) -> str | None: ...
    @property
    def answer(self) -> str | None: ...
    @property
    def split(self) -> str | None: ...
    @property
    def validation(self) -> float: ...
    @property
    def test(self) -> float: ...
    @property
    def description(self) -> str | None: ...
    @property
    def label_texts(self) -> Mapping[str, str] | None: ...


@dataclass(frozen=True)
class Fields:
    """Where a file's rows hold what. asked: the text, the prompt or the messages; right: the class or the answer."""

    kind: Literal["classification", "generation"]
    asked: str
    right: str | None
    """None where `asked` is a list of messages, the last of which is the answer."""


def find_fields(settings: Settings, path: Path, first: Row) -> Fields:
    """The fields as the settings name them, else by their usual names in the first row.

    Raises InputError, saying which fields there are, where none fits; RecipeError for settings of two kinds.
    """
    classes = [name for name in ("text", "label") if getattr(settings, name)]
    answers = [name for name in ("prompt", "answer") if getattr(settings, name)]
    if classes and answers:
        raise RecipeError(
            f"task.{classes[0]} and task.{answers[0]}: a task has text and label, or prompt and answer, not both",
            "Take one pair out.",
        )
    there = first.fields
    label, prompt, answer = (_present(there, names) for names in (LABELS, PROMPTS, ANSWERS))
    if classes or (not answers and "text" in there and label):
        return Fields(
            "classification",
            settings.text or _needed("text", _present(there, TEXTS), path, first),
            settings.label or _needed("label", label, path, first),
        )
    if answers or (prompt and answer):
        return Fields(
            "generation",
            settings.prompt or _needed("prompt", prompt, path, first),
            settings.answer or _needed("answer", answer, path, first),
        )
    if "messages" in there:
        return Fields("generation", "messages", None)
    raise InputError(
        f"{path} line {first.line}: neither text and label nor prompt and answer ({_listed(there)})",
        "Say which fields hold them: task.text and task.label, or task.prompt and task.answer.",
    )


def read_example(fields: Fields, path: Path, row: Row) -> Example:
    """The example of one row. Raises InputError naming file, line and field for what isn't one.

    An answer may be empty, which says that there is none; a text, a class and a conversation's messages may not.
    """
    name = f"{path.parent.name}/{path.name}:{row.line}"
    if fields.right is None:
        return _conversation(name, path, row)
    asked = _text(fields.asked, path, row)
    if fields.kind == "classification":
        return Example(name, asked, _text(fields.right, path, row).strip(), row.line)
    right = _text(fields.right, path, row, may_be_empty=True)
    return Example(name, asked, right if right.strip() else "", row.line)


def _present(there: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in there), None)


def _needed(what: str, found: str | None, path: Path, first: Row) -> str:
    if found is not None:
        return found
    raise InputError(
        f"{path} line {first.line}: no field of the {what} ({_listed(first.fields)})",
        f"Set task.{what} to the field that holds it.",
    )


def _listed(fields: Mapping[str, Any]) -> str:
    shown = ", ".join(map(str, list(fields)[:20])) or "none"
    return f"fields: {shown}"


def _text(name: str, path: Path, row: Row, *, may_be_empty: bool = False) -> str:
    if name not in row.fields:
        raise InputError(
            f'{path} line {row.line}: no field "{name}" ({_listed(row.fields)})',
            "Repair the row, or name the right fields: task.text, task.label, task.prompt, task.answer.",
        )
    value = row.fields[name]
    if isinstance(value, bool):
        value = "true" if value else "false"
    elif isinstance(value, int):
        value = str(value)
    if not isinstance(value, str):
        raise InputError(
            f'{path} line {row.line}: the field "{name}" holds {_json_type(value)}, not text', "Write it as text."
        )
    if not value.strip() and not may_be_empty:
        raise InputError(
            f'{path} line {row.line}: the field "{name}" is empty', "Fill it, or take the row out of the file."
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(
            f'{path} line {row.line}: the field "{name}" holds half of a surrogate pair, which is no text',
            "Repair the row.",
        ) from None
    return value


def _conversation(name: str, path: Path, row: Row) -> Example:
    """A row of `messages` whose last one is the assistant's: that is the answer, what comes before is asked."""
    place, messages = f"{path} line {row.line}", row.fields.get("messages")
    fix = 'Write {"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]}'
    if not isinstance(messages, list) or not messages:
        raise InputError(f'{place}: the field "messages" is no list of messages ({_listed(row.fields)})', fix)
    for number, message in enumerate(messages, start=1):
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, str) or not isinstance(message.get("role"), str):
            raise InputError(f"{place}: message {number} isn't a role with a text as its content", fix)
    *turns, last = messages
    if last["role"] != "assistant" or not any(turn["role"] == "user" for turn in turns):
        raise InputError(f"{place}: the last message isn't an assistant's answer to a user's", fix)
    if not last["content"].strip() or not any(turn["content"].strip() for turn in turns):
        raise InputError(f"{place}: an empty message", "Fill it, or take the row out of the file.")
    if len(turns) == 1:
        return Example(name, turns[0]["content"], last["content"], row.line)
    whole = "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)
    return Example(name, whole, last["content"], row.line, turns=tuple(turns))


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return "a fraction"
    return "a list" if isinstance(value, list) else "an object"
