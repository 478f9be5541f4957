"""What a model is asked, and in which version: a change of wording is a change of version."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bedplate.data.synthesis.asking import Messages

VERSION = 1
"""Goes into every row. Raised with any change below."""

_STYLES = {
    "easy": "Rewrite the passage so that a young child understands it: short sentences and everyday words.",
    "medium": "Rewrite the passage in clear, high-quality prose, as a good encyclopedia would put it.",
    "hard": "Rewrite the passage tersely for scholars of its field, in precise and demanding language.",
}
_FAITHFUL = (
    "Keep what it says and its language, add nothing that it doesn't say, and don't copy its sentences. "
    "Answer with the new text alone."
)
_LEAD_IN = re.compile(r"\A\s*(?:sure|certainly|of course|here(?:'s| is| are|’s))\b[^\n]{0,160}:\s*\n+", re.IGNORECASE)
_PAIR = re.compile(
    r"^\W*question(?: \d+)?\W+(.+?)\s*^\W*answer(?: \d+)?\W+(.+?)\s*(?=^\W*question\b|\Z)", re.I | re.M | re.S
)
_NUMBERED = re.compile(r"^\s*\d{1,2}[.):]\s*(.+?)\s*(?=^\s*\d{1,2}[.):]\s|\Z)", re.MULTILINE | re.DOTALL)


def rephrase(passage: str, style: str) -> Messages:
    """As in WRAP (Maini et al. 2024, arXiv 2401.16380), in words of our own."""
    return (("user", f"{_STYLES[style]} {_FAITHFUL}\n\nPassage:\n{passage}"),)


def question_answer(passage: str, pairs: int) -> Messages:
    """Pairs that `read_pairs` reads."""
    return (
        (
            "user",
            f"Write {pairs} questions about the passage, each with its full answer, in the passage's language. Every "
            "question has to make sense to somebody who doesn't have the passage, and the passage has to hold its "
            f"answer. Use this form and nothing else:\n\nQuestion: ...\nAnswer: ...\n\nPassage:\n{passage}",
        ),
    )


def new_tasks(examples: Sequence[str], count: int) -> Messages:
    """A numbered list, begun with examples, as in Self-Instruct (Wang et al. 2022, arXiv 2212.10560)."""
    listed = "\n".join(f"{number}. {' '.join(task.split())}" for number, task in enumerate(examples, 1))
    first, last = len(examples) + 1, len(examples) + count
    return (
        (
            "user",
            "These are tasks that people give to an assistant which reads and writes text only:\n\n"
            f"{listed}\n\nGo on with {count} new ones, numbered {first} to {last}. They differ from these and from "
            "each other in subject, kind and wording, can be done with nothing more than what they say, and are a "
            "sentence or a few long. Answer with the list alone.",
        ),
    )


def task(instruction: str) -> Messages:
    """The task by itself."""
    return (("user", instruction),)


def cleaned(text: str) -> str:
    """An answer without a sentence that only announces it ("Here is the rewritten passage:")."""
    return _LEAD_IN.sub("", text, count=1).strip()


def read_pairs(text: str) -> list[tuple[str, str]]:
    """The questions and answers in an answer to `question_answer`."""
    found = [(question.strip(" *"), answer.strip(" *")) for question, answer in _PAIR.findall(text)]
    return [(question, answer) for question, answer in found if question and answer]


def read_tasks(text: str) -> list[str]:
    """The tasks in an answer to `new_tasks`, whatever their numbers, without empty ones."""
    return [" ".join(found.split()) for found in _NUMBERED.findall(text) if found.strip()]
