"""Putting many questions to whatever answers, in one batch, and telling whether a free answer is the right one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bedplate.adapt.face import Answer, Answerer, Message
from bedplate.generate.params import SamplingParams

_ENDS = re.compile(r"^[\s\"'`*.,;:!]+|[\s\"'`*.,;:!]+$")


def ask_all(
    face: Answerer, conversations: Sequence[Sequence[Message]], params: SamplingParams | None = None
) -> list[Answer]:
    """What `face.generate` gives for each conversation, with one batch put to its base."""
    prepared = [face.prepare(conversation) for conversation in conversations]
    asked = [p for p in prepared if p.answer is None]
    answers = iter(face.base.generate_many([p.messages for p in asked], params))
    return [face.finish(p, next(answers)) if p.answer is None else p.answer for p in prepared]


def is_right(answer: str, target: str) -> bool:
    """Exact match, after case, runs of white space and the marks around an answer are set aside."""
    return plain(answer) == plain(target)


def plain(text: str) -> str:
    """The text as `is_right` compares it."""
    return " ".join(_ENDS.sub("", text).casefold().split())
