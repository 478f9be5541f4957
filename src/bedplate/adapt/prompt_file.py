"""`prompt.json`: everything that a prompt is, so that the artefact needs nothing but its base (and, where examples are
found by similarity, its encoder)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from bedplate.adapt.calibration import Calibration
from bedplate.adapt.examples import How, Shown
from bedplate.adapt.face import Message
from bedplate.errors import ArtefactError
from bedplate.tasks.examples import Task

FILE = "prompt.json"
VERSION = 1

LabelScoring = Literal["local", "logprobs", "parse"]
"""How labels are scored: by a model here, by an endpoint's echoed log-probabilities, by the text of its answer."""


@dataclass(frozen=True)
class Examples:
    """Which training examples a prompt shows. kept: those that it may show. encoder: what proves the encoder, where
    they are found by similarity."""

    how: How
    shots: int
    seed: int
    kept: tuple[Shown, ...]
    encoder: dict[str, str] | None = None


@dataclass(frozen=True)
class Prompt:
    """classes: empty where answers are free text. label_texts: how each class is written, in the order of `classes`.
    system: whether the instruction is a system message, or else stands before the first question (some templates have
    no system). max_tokens: longest free answer. calibration: for scored labels. sure: probability of a parsed label."""

    instruction: str
    classes: tuple[str, ...] = ()
    label_texts: tuple[str, ...] = ()
    examples: Examples | None = None
    system: bool = True
    max_tokens: int = 64
    scoring: LabelScoring = "local"
    calibration: Calibration | None = None
    sure: float = 0.9

    def messages(self, text: str, shown: Sequence[Shown] = ()) -> list[Message]:
        """The conversation that puts `text` after the examples, each a question and its answer."""
        turns: list[Message] = [{"role": "system", "content": self.instruction}] if self.system else []
        for question, answer in shown:
            turns += [{"role": "user", "content": question}, {"role": "assistant", "content": self.answer_text(answer)}]
        turns.append({"role": "user", "content": text})
        if not self.system:
            turns[0] = {"role": "user", "content": f"{self.instruction}\n\n{turns[0]['content']}"}
        return turns

    def plain(self, text: str, shown: Sequence[Shown] = ()) -> str:
        """The same as one text that a base model continues, up to where the class stands after a space."""
        asked = [f"Text: {question}\nClass: {self.answer_text(answer)}\n\n" for question, answer in shown]
        return f"{self.instruction}\n\n{''.join(asked)}Text: {text}\nClass:"

    def answer_text(self, target: str) -> str:
        """How the prompt writes what is right."""
        return self.label_texts[self.classes.index(target)] if self.classes else target

    def save(self, folder: Path, way: str) -> None:
        """Write `prompt.json`."""
        content = {"version": VERSION, "way": way, **asdict(self)}
        (folder / FILE).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Prompt:
        """Read it. Raises ArtefactError for a newer version or a broken file."""
        try:
            found: dict[str, Any] = json.loads(path.read_bytes())
            if found.pop("version") > VERSION:
                raise ArtefactError(f"{path}: written by a newer Bedplate", "Upgrade Bedplate.")
            found.pop("way")
            if (e := found["examples"]) is not None:
                found["examples"] = Examples(**{**e, "kept": tuple((q, a) for q, a in e["kept"])})
            if (c := found["calibration"]) is not None:
                found["calibration"] = Calibration(**{**c, "gain": tuple(c["gain"]), "offset": tuple(c["offset"])})
            return cls(**{**found, "classes": tuple(found["classes"]), "label_texts": tuple(found["label_texts"])})
        except (ValueError, KeyError, TypeError) as error:
            raise ArtefactError(f"{path}: not a prompt: {error!r}", "Make it again.") from error


def default_prompt(task: Task, instruction: str | None, *, list_labels: bool) -> Prompt:
    """The prompt for a task, with an instruction made from its description where none is given."""
    texts = tuple(task.label_text(label) for label in task.classes)
    if task.kind == "generation":
        what = f"{_sentence(task.description)} " if task.description else "Answer the question. "
        return Prompt(instruction or f"{what}Give the answer alone, without an explanation.")
    by = f" by {task.description}" if task.description else ""
    told = instruction or f"Classify each text{by}. Answer with the class only."
    prompt = Prompt(told, tuple(task.classes), texts)
    return with_listed_labels(prompt) if list_labels else prompt


def with_listed_labels(prompt: Prompt) -> Prompt:
    """The same prompt, its instruction naming all classes."""
    return replace(prompt, instruction=f"{prompt.instruction} The classes are: {'; '.join(prompt.label_texts)}.")


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
