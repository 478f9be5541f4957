"""ARC and PIQA from instruction/input/output/answer JSON.

The carrier files wrap each question in an instruction ("Please choose the correct answer to the question: ...
Answer1: ... Answer2: ..."). The reader unwraps question and choices and gives them lm-eval's zero-shot prompt,
`Question: {question}\\nAnswer:`, which scores the choice's own text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from bedplate.errors import InputError
from bedplate.tasks.item import MultipleChoice

ARC_WRAPPER = re.compile(
    r"\APlease choose the correct answer to the question: (?P<question>.*?)\n\n(?P<choices>Answer1: .*)"
    r"\n\nAnswer format: [\w/]+\Z",
    re.DOTALL,
)
ARC_CHOICE = re.compile(r"(?:\A|\s)Answer(\d): ")
PIQA_WRAPPER = re.compile(
    r"\APlease choose the correct solution to the question: (?P<goal>.*?)\n\nSolution1: (?P<first>.*?)"
    r"\n\nSolution2: (?P<second>.*)\n\nAnswer format: solution1/solution2\Z",
    re.DOTALL,
)

Unwrap = Callable[[str], tuple[str, tuple[str, ...]] | None]


def read_arc(path: Path) -> list[MultipleChoice]:
    """ARC-Easy or ARC-Challenge: three to five choices, scored by their text."""
    return _read(path, _unwrap_arc, "answer")


def read_piqa(path: Path) -> list[MultipleChoice]:
    """PIQA: two solutions of a goal, scored by their text (spaces kept as they stand in the data)."""
    return _read(path, _unwrap_piqa, "solution")


def _unwrap_arc(instruction: str) -> tuple[str, tuple[str, ...]] | None:
    match = ARC_WRAPPER.match(instruction)
    if match is None:
        return None
    parts = ARC_CHOICE.split(match["choices"])  # "", "1", text, "2", text, ...
    numbers, texts = parts[1::2], parts[2::2]
    if parts[0] or numbers != [str(i + 1) for i in range(len(numbers))]:
        return None
    return match["question"], tuple(text.strip() for text in texts)


def _unwrap_piqa(instruction: str) -> tuple[str, tuple[str, ...]] | None:
    match = PIQA_WRAPPER.match(instruction)
    return None if match is None else (match["goal"], (match["first"], match["second"]))


def _read(path: Path, unwrap: Unwrap, label: str) -> list[MultipleChoice]:
    rows = _load_rows(path)
    items = []
    for number, row in enumerate(rows, start=1):
        where = f"{path} row {number}"
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("instruction", "answer")):
            raise InputError(f"{where}: no text in fields instruction and answer")
        unwrapped = unwrap(row["instruction"])
        if unwrapped is None:
            raise InputError(f"{where}: the instruction doesn't have the expected question and choices")
        question, choices = unwrapped
        allowed = [f"{label}{i + 1}" for i in range(len(choices))]
        if row["answer"] not in allowed or not all(choices):
            raise InputError(f"{where}: answer {row['answer']!r} is none of {', '.join(allowed)}, or a choice is empty")
        items.append(
            MultipleChoice(
                id=f"{path.parent.name}/{path.stem}:{number}",
                context=f"Question: {question}\nAnswer:",
                choices=choices,
                answer=allowed.index(row["answer"]),
            )
        )
    return items


def _load_rows(path: Path) -> Sequence[object]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: can't be read ({error.strerror})", "Give the folder that holds the task's data."
        ) from error
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        raise InputError(f"{path}: not JSON ({error})") from error
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{path}: expected a JSON list with at least one row")
    return rows
