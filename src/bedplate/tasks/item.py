"""A multiple-choice item and the task that it belongs to.

Prompts are character for character those of lm-evaluation-harness, so that figures compare with published ones: the
continuation that is scored is the target delimiter (one space) followed by the choice's text, and length
normalisation counts the characters of the choice without the delimiter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TARGET_DELIMITER = " "
FEWSHOT_DELIMITER = "\n\n"


@dataclass(frozen=True)
class MultipleChoice:
    """One question: `context` is the whole prompt, `choices` the texts to score, `answer` the index of the right one.

    `id` names the file's row that the item came from; `group` is the subject where a task has several, else "".
    """

    id: str
    context: str
    choices: tuple[str, ...]
    answer: int
    group: str = ""

    def continuations(self) -> tuple[str, ...]:
        """What is scored after the context, one string a choice: the delimiter belongs to the continuation."""
        return tuple(TARGET_DELIMITER + choice for choice in self.choices)


@dataclass(frozen=True)
class Task:
    """Items with the rule they were made by. `available` counts the rows before a limit was applied."""

    name: str
    items: Sequence[MultipleChoice]
    available: int
    shots: int
    source: str
