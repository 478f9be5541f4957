"""Fine-tuning that answers: conversations by the model's chat template, of which only the assistant's tokens count."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from bedplate.adapt.fitting import Fitting
from bedplate.adapt.tuning.body import Body, TunedWay
from bedplate.adapt.tuning.plan import Costs
from bedplate.adapt.tuning.tune import (
    Job,
    batch_of,
    check_validation,
    micro_batch,
    placement_for,
    planned,
    steps_of,
    tidy,
    tune,
)
from bedplate.codecs.chat_tokens import Chat, ChatTokens, encode_chats
from bedplate.codecs.text import TextTokenizer
from bedplate.data.chat_rows import ChatEvaluationRows, ChatRows
from bedplate.errors import RecipeError, TokenizerError
from bedplate.generate.model import TextModel
from bedplate.objectives.next_token import NextToken
from bedplate.scaling.tuning_flops import NetFlops, net_flops
from bedplate.tasks.examples import Example
from bedplate.train.validation import BitsPerByte


def fit_answers(way: TunedWay, fitting: Fitting) -> None:
    """Tune to prompts and answers, or to conversations, and write the artefact's files.

    Raises TokenizerError for a base without a chat template, InputError, naming the row, for an example that is too
    long or has nothing to learn, RecipeError for an encoder and for a budget that is too small.
    """
    check_validation(fitting)
    if way.tune == "encoder":
        raise RecipeError(
            f"an encoder can only tell classes apart, and the task {fitting.task.name!r} asks for answers",
            "Set way.tune: base.",
        )
    placement = placement_for(fitting)
    body = Body.prepare(way, fitting, placement.dtype)
    model = body.model
    assert isinstance(model, TextModel)
    tokenizer = model.tokenizer
    if tokenizer is None:
        raise TokenizerError("the base has no tokenizer, so it can't read", "Put its tokenizer.json beside it.")
    pad = next((i for i in (tokenizer.pad_id, tokenizer.eos_id) if i is not None), 0)
    length = min(way.length, model.config.max_position_embeddings)
    task = fitting.task
    train = ChatRows(
        _encoded(tokenizer, task.train, task.name), length, fitting.seed, pad_id=pad, too_long=way.too_long
    )
    validation = ChatEvaluationRows(
        _encoded(tokenizer, task.validation, task.name), length, pad_id=pad, too_long=way.too_long
    )
    batch = batch_of(way, train.rows_per_epoch)
    costs = answer_costs(net_flops(model.net, "place"), train, validation, batch, steps_of(way, train.rows_per_epoch))
    plan = planned(way, fitting, costs)
    job = Job(
        model.net, body, NextToken(), train, batch, length, BitsPerByte(validation), None, _rank,
        detail=lambda: None, costs=costs,
        tokens=lambda step: round(batch * train.pairs_per_epoch / train.rows_per_epoch),
        rows_per_epoch=train.rows_per_epoch,
    )  # fmt: skip
    tune(way, fitting, job, plan, placement)
    fitting.work.measures["training_examples"] = train.measures()
    body.save(fitting.work.path)
    tidy(fitting)


def answer_costs(flops: NetFlops, train: ChatRows, validation: ChatEvaluationRows, batch: int, steps: int) -> Costs:
    """What each part of the work will cost."""
    at_once = min(micro_batch(batch, train.length), validation.count)
    # The last batch of a pass is filled up with rows that don't count.
    scored = flops.forward.of(math.ceil(validation.count / at_once) * at_once, train.length)
    return Costs(start=scored, validation=scored, steps=(flops.training.of(batch, train.length),) * steps)


def _encoded(tokenizer: TextTokenizer, examples: Sequence[Example], name: str) -> Iterator[ChatTokens]:
    chats = (
        Chat([*e.messages(), {"role": "assistant", "content": e.target}], origin=f"{name} line {e.row}")
        for e in examples
    )
    return encode_chats(tokenizer, chats)


def _rank(scores: dict[str, Any]) -> tuple[float, ...]:
    """The less the loss, the better."""
    return (-scores["loss"],)
