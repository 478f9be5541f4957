"""Bits per byte and perplexity of a model over documents.

The rule: each document stands alone. BOS comes first as context and is never scored; every token of the document and
the document-end token are scored exactly once. A document longer than `context` inputs is read in windows: the first
scores all its tokens; each next one starts `stride` further on and scores only what no window scored before, so every
token after the first window has at least context - stride tokens before it. Bits per byte divides by the UTF-8 bytes
of the documents' text; perplexity is per scored token, so it compares only between models with the same tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bedplate.errors import InputError, TokenizerError, UserError
from bedplate.evaluate.scoring import BATCH_TOKENS, Window, score
from bedplate.families.model import Model

Ints = NDArray[np.int64]
LN2 = float(np.log(2))

RULE = (
    "Each document alone; BOS is context and never scored; every document token and the document-end token are scored "
    "once; windows of {context} tokens, {stride} apart, so that every token after a document's first window has at "
    "least {least} tokens of context; bytes are the UTF-8 bytes of the documents' text."
)


@dataclass(frozen=True)
class Spread:
    """Nats and scored tokens of each document: nats [documents], tokens [documents]."""

    nats: NDArray[np.float64]
    tokens: Ints

    @property
    def bits(self) -> NDArray[np.float64]:
        return self.nats / LN2

    @property
    def perplexity(self) -> float:
        """exp of the mean nats a scored token."""
        return float(np.exp(self.nats.sum() / self.tokens.sum()))


def windows_of(document: Ints, context: int, stride: int) -> list[Window]:
    """The windows of a document BOS t1 .. tn END; together their targets are t1 .. tn END, once each, in order."""
    inputs, targets = document[:-1], document[1:]
    result, start, covered = [], 0, 0
    while covered < len(inputs):
        end = min(start + context, len(inputs))
        result.append(Window(inputs[start:end], targets[covered:end]))
        start, covered = start + stride, end
    return result


def score_documents(
    model: Model,
    documents: Sequence[Ints],
    *,
    context: int,
    stride: int | None = None,
    batch_tokens: int = BATCH_TOKENS,
    done: Callable[[int], None] = lambda scored: None,
) -> Spread:
    """Nats of documents of BOS t1 .. tn END under the rule above; stride None means half the context.

    `done` is told how many windows have been
    scored. Raises InputError where there is nothing to score.
    """
    stride = checked_stride(context, stride)
    if not documents:
        raise InputError("there are no held-out documents to score", "Curate with a validation share above zero.")
    windows, owner = [], []
    for number, document in enumerate(documents):
        parts = windows_of(np.asarray(document, dtype=np.int64), context, stride)
        windows += parts
        owner += [number] * len(parts)
    scored = score(model, windows, batch_tokens=batch_tokens, done=done)
    nats = np.zeros(len(documents))
    np.add.at(nats, owner, [part.sum() for part in scored])
    return Spread(nats, np.array([len(document) - 1 for document in documents]))


def checked_stride(context: int, stride: int | None) -> int:
    """The stride, half the context where None. Raises UserError unless 1 <= stride <= context."""
    stride = max(1, context // 2) if stride is None else stride
    if not 1 <= stride <= context:
        raise UserError(f"stride {stride} with context {context}", "The stride must be from 1 to the context.")
    return stride


def text_perplexity(model: Model, text: str, *, tokens: int | None = 1024, context: int | None = None) -> float:
    """Perplexity of the first `tokens` tokens of a plain text: see `score_text`."""
    return score_text(model, text, tokens=tokens, context=context).perplexity


def score_text(model: Model, text: str, *, tokens: int | None = 1024, context: int | None = None) -> Spread:
    """Nats of the first `tokens` tokens of a plain text, without BOS: the first token is context only.

    This is the figure that is usually quoted for WikiText: the text tokenised as it stands, cut, and every token after
    the first scored; in one window unless `context` is given, then by the stride rule. Raises InputError for a text of
    fewer than two tokens, TokenizerError for a model without a tokenizer.
    """
    if model.tokenizer is None:
        raise TokenizerError("the model folder has no tokenizer, so text can't be scored", "Add its tokenizer.json.")
    ids = np.asarray(model.tokenizer.encode(text)[:tokens], dtype=np.int64)
    if len(ids) < 2:
        raise InputError(f"the text has {len(ids)} tokens; at least two are needed to score one")
    return score_documents(model, [ids], context=context or len(ids))
