"""Multiple choice by log-likelihood, as lm-evaluation-harness does it.

The model never "answers": each choice is appended to the prompt and the one with the highest log-likelihood counts.
`acc` compares sums over the choice's tokens, `acc_norm` sums divided by the choice's length in characters, which takes
away the advantage of short choices. Ties go to the first choice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bedplate.codecs.text import TextTokenizer
from bedplate.errors import InputError, TokenizerError
from bedplate.evaluate.scoring import BATCH_TOKENS, Window, score
from bedplate.evaluate.statistics import mean_and_error
from bedplate.families.model import Model
from bedplate.tasks.item import MultipleChoice, Task


@dataclass(frozen=True)
class Answered:
    """One item with log-likelihoods [choices] in nats and whether each reading of them picks the right choice.

    cut: tokens of the prompt's start that didn't fit in the model's context (the most over the choices).
    """

    item: MultipleChoice
    log_likelihoods: tuple[float, ...]
    cut: int

    @property
    def picked(self) -> int:
        return int(np.argmax(self.log_likelihoods))

    @property
    def picked_norm(self) -> int:
        return int(np.argmax(np.array(self.log_likelihoods) / [len(choice) for choice in self.item.choices]))

    def row(self) -> dict[str, Any]:
        """What goes into items.jsonl."""
        return {
            "id": self.item.id,
            "group": self.item.group,
            "context": self.item.context,
            "choices": list(self.item.choices),
            "answer": self.item.answer,
            "log_likelihoods": list(self.log_likelihoods),
            "picked": self.picked,
            "picked_norm": self.picked_norm,
            "cut_tokens": self.cut,
        }


def encode_pair(tokenizer: TextTokenizer, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Tokens of the context and of the continuation after it.

    Spaces at the context's end move to the continuation, both are tokenised as one text (with whatever the tokenizer's
    own post-processor adds in front, as lm-eval has it), and the continuation is what follows the context's own tokens.
    """
    kept = context.rstrip()
    continuation, context = context[len(kept) :] + continuation, kept
    before = tokenizer.encode(context, post_process=True)
    whole = tokenizer.encode(context + continuation, post_process=True)
    return before, whole[len(before) :]


def answer(
    model: Model,
    items: Sequence[MultipleChoice],
    *,
    batch_tokens: int = BATCH_TOKENS,
    done: Callable[[int], None] = lambda scored: None,
) -> list[Answered]:
    """Log-likelihood of every choice of every item. `done` is told how many choices have been scored.

    A prompt too long for the model loses its start, as in lm-eval, and the item says how much. Raises TokenizerError
    for a model without a tokenizer, InputError for an item whose choice has no tokens of its own.
    """
    tokenizer = model.tokenizer
    if tokenizer is None:
        raise TokenizerError("the model folder has no tokenizer, so tasks can't be scored", "Add its tokenizer.json.")
    limit = model.config.max_position_embeddings
    windows, cuts = [], []
    for item in items:
        for choice in item.continuations():
            before, after = encode_pair(tokenizer, item.context, choice)
            if not after:
                raise InputError(f"item {item.id}: choice {choice!r} merges into the prompt's last token")
            tokens = np.array((before or _start(tokenizer)) + after, dtype=np.int64)
            kept = tokens[-(limit + 1) :]
            cuts.append(len(tokens) - len(kept))
            windows.append(Window(kept[:-1], kept[-len(after) :][-limit:]))
    scored = score(model, windows, batch_tokens=batch_tokens, done=done)
    sums = iter([-float(nats.sum()) for nats in scored])
    cut = iter(cuts)
    return [
        Answered(item, tuple(next(sums) for _ in item.choices), max(next(cut) for _ in item.choices)) for item in items
    ]


def _start(tokenizer: TextTokenizer) -> list[int]:
    start = tokenizer.bos_id if tokenizer.bos_id is not None else tokenizer.eos_id
    if start is None:
        raise TokenizerError("an empty prompt needs a beginning-of-sequence token; the tokenizer has none", None)
    return [start]


def summarise(task: Task, answered: Sequence[Answered]) -> dict[str, Any]:
    """Accuracies with standard errors, over all items (groups weigh by their size) and by group where there are any."""
    result: dict[str, Any] = {
        "task": task.name,
        "shots": task.shots,
        "source": task.source,
        "items": len(answered),
        "available": task.available,
        "cut_items": sum(1 for a in answered if a.cut),
        **accuracies(answered),
        "chance": float(np.mean([1 / len(a.item.choices) for a in answered])),
    }
    groups: dict[str, list[Answered]] = defaultdict(list)
    for a in answered:
        groups[a.item.group].append(a)
    if len(groups) > 1:
        result["groups"] = {name: {"items": len(part), **accuracies(part)} for name, part in sorted(groups.items())}
    return result


def accuracies(answered: Sequence[Answered]) -> dict[str, float | None]:
    """`acc` and `acc_norm`, each with its standard error; None where there is nothing to take it of."""
    if not answered:
        return dict.fromkeys(("acc", "acc_stderr", "acc_norm", "acc_norm_stderr"))
    acc, acc_error = mean_and_error([a.picked == a.item.answer for a in answered])
    norm, norm_error = mean_and_error([a.picked_norm == a.item.answer for a in answered])
    return {"acc": acc, "acc_stderr": acc_error, "acc_norm": norm, "acc_norm_stderr": norm_error}
