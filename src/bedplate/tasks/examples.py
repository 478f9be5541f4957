"""`Task`: examples of what is asked and what is right, in three splits that share nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Example:
    """input: the text to classify, or the prompt. target: its class, or the answer. row: the line where it stood in its
    file, from 1.

    turns: the messages before the answer, where there are more than one question; `input` then holds them all as text.
    """

    id: str
    input: str
    target: str
    row: int
    turns: tuple[Mapping[str, Any], ...] = ()

    def messages(self) -> list[dict[str, Any]]:
        """The conversation that `target` answers."""
        if self.turns:
            return [dict(turn) for turn in self.turns]
        return [{"role": "user", "content": self.input}]


@dataclass(frozen=True)
class Task:
    """A task with its splits. classes: every class of the training split, sorted; empty where answers are free text.

    description: what the labels say of the text, for prompts. label_texts: class -> how a prompt writes it.
    """

    name: str
    kind: Literal["classification", "generation"]
    classes: tuple[str, ...]
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    description: str | None = None
    label_texts: dict[str, str] | None = None

    def label_text(self, label: str) -> str:
        """How a prompt writes a class: as told, else with spaces for underscores and hyphens."""
        return (self.label_texts or {}).get(label) or label.replace("_", " ").replace("-", " ")
