"""Scores of every label for every text, however the base can give them: log-likelihoods of a model here, an endpoint's
echoed log-probabilities, or the text of its answer."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from bedplate.adapt.asking import plain
from bedplate.adapt.bases import LocalBase
from bedplate.adapt.endpoint import EndpointBase
from bedplate.adapt.examples import Shown
from bedplate.adapt.face import Base, Message
from bedplate.adapt.prompt_file import Prompt
from bedplate.errors import InputError, UserError
from bedplate.generate.params import SamplingParams

Floats = npt.NDArray[np.float64]

NEAR = 0.7
"""Least likeness (difflib's ratio) of an answer to the label that it is taken for."""
END = "\n"
"""What ends a label in plain text, so that a label which is the beginning of another isn't favoured."""


class ExamplesDroppedWarning(UserWarning):
    """Prompts had to leave examples out to fit the base's context."""


@dataclass(frozen=True)
class Scored:
    """sums [N, K] of log-likelihoods, nats; tokens [K] of each label; read: prompt tokens of each text; dropped:
    examples left out for want of room; flops: operations."""

    sums: Floats
    tokens: npt.NDArray[np.int64]
    read: tuple[int, ...]
    dropped: int = 0
    flops: float = 0.0


@dataclass(frozen=True)
class Parsed:
    """columns [N]: the class that each answer names, -1 for none; read: prompt tokens of each text."""

    columns: npt.NDArray[np.int64]
    read: tuple[int, ...]


def score_labels(base: Base, prompt: Prompt, texts: Sequence[str], shown: Sequence[Sequence[Shown]]) -> Scored:
    """How likely each label is for each text. shown: the examples of each.

    Raises InputError for a text that doesn't fit the base's context even without examples, UserError where the base
    gives no likelihoods.
    """
    if prompt.scoring == "local" and isinstance(base, LocalBase):
        return _local(base, prompt, texts, shown)
    if prompt.scoring == "logprobs" and isinstance(base, EndpointBase):
        return _echoed(base, prompt, texts, shown)
    raise UserError(
        f"the prompt was made for label scores by {prompt.scoring!r}, which {base.name} can't give",
        "Open it on the base that it was made for, or make it again.",
    )


def fit_messages(
    base: LocalBase,
    put: Callable[[Sequence[Shown]], Sequence[Message]],
    shown: Sequence[Shown],
    room: int,
) -> tuple[list[int], int]:
    """The tokens of `put(examples)`, and how many examples had to be dropped, the least useful (first) ones, to leave
    `room` for the answer. Raises InputError where even without examples it is too long."""
    for dropped in range(len(shown) + 1):
        tokens = base.prompt_tokens(put(shown[dropped:]))
        if len(tokens) + room <= base.context:
            return tokens, dropped
    text = str(put(())[-1]["content"])
    raise InputError(
        f"a text of {len(text):,} characters makes a prompt of {len(tokens):,} tokens, its answer {room} more, and "
        f"the context of {base.name} is {base.context:,}: {text[:60]!r} ...",
        "Shorten it.",
    )


def warn_dropped(dropped: int, texts: int) -> None:
    """Say how many examples were left out, if any were."""
    if dropped:
        warnings.warn(
            f"{dropped} examples were left out of the prompts for {texts} texts: the base's context is full",
            ExamplesDroppedWarning,
            stacklevel=3,
        )


def parse_labels(base: Base, prompt: Prompt, texts: Sequence[str], shown: Sequence[Sequence[Shown]]) -> Parsed:
    """Ask for the label and find the class that each answer names."""
    longest = max(len(text) for text in prompt.label_texts)
    answers = base.generate_many(
        [prompt.messages(t, s) for t, s in zip(texts, shown, strict=True)],
        SamplingParams(max_tokens=longest // 2 + 16),
    )
    columns = np.array([parse_label(a.text, prompt.label_texts) for a in answers], dtype=np.int64)
    return Parsed(columns, tuple(a.usage.prompt_tokens for a in answers))


def parse_label(answer: str, labels: Sequence[str]) -> int:
    """The label that an answer names, -1 for none.

    It is the answer itself (case, marks and spaces set aside); else the one label in its first line, where that holds
    no other (a label inside another doesn't count beside it); else the likest to its first line, if like enough.
    """
    known = [plain(label) for label in labels]
    lines = [line for line in (plain(line) for line in answer.splitlines()) if line]
    if not lines:
        return -1
    if lines[0] in known:
        return known.index(lines[0])
    padded = f" {lines[0]} "
    held = [k for k, label in enumerate(known) if f" {label} " in padded]
    widest = [k for k in held if not any(k != o and f" {known[k]} " in f" {known[o]} " for o in held)]
    if len(widest) == 1:
        return widest[0]
    if widest:
        return -1
    near = difflib.get_close_matches(lines[0], known, n=1, cutoff=NEAR)
    return known.index(near[0]) if near else -1


def _local(base: LocalBase, prompt: Prompt, texts: Sequence[str], shown: Sequence[Sequence[Shown]]) -> Scored:
    from bedplate.adapt.embedding import matrix_numbers
    from bedplate.adapt.label_scoring import answer_tokens, score_answers

    model = base.model
    room = max(len(tokens) for tokens in answer_tokens(model, prompt.label_texts))
    fitted = [fit_messages(base, partial(prompt.messages, t), s, room) for t, s in zip(texts, shown, strict=True)]
    found = score_answers(model, [tokens for tokens, _ in fitted], prompt.label_texts)
    flops = 2.0 * (matrix_numbers(model.net) * found.computed + model.head_weight.numel() * found.predicted)
    return Scored(found.sums, found.tokens, found.read, sum(dropped for _, dropped in fitted), flops)


def _echoed(base: EndpointBase, prompt: Prompt, texts: Sequence[str], shown: Sequence[Sequence[Shown]]) -> Scored:
    """One request for each text and label. A label's tokens are counted in the first text: they are the same in all."""
    heads = [prompt.plain(t, s) for t, s in zip(texts, shown, strict=True)]
    asked = [f"{head} {label}{END}" for head in heads for label in prompt.label_texts]
    starts = [len(head) for head in heads for _ in prompt.label_texts]
    echoes = base.echo(asked, starts)
    N, K = len(texts), len(prompt.label_texts)
    sums = np.array([sum(e.logprobs) for e in echoes]).reshape(N, K)
    tokens = np.array([len(e.logprobs) for e in echoes[:K]], dtype=np.int64)
    read = tuple(sum(e.tokens for e in echoes[n * K : (n + 1) * K]) for n in range(N))
    return Scored(sums, tokens, read)
