"""Fine-tuning that tells classes apart: a body with a head, which starts as a linear probe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from bedplate.adapt.fitting import Fitting
from bedplate.adapt.tuning.body import Body, TunedWay
from bedplate.adapt.tuning.class_rows import ClassRows, LabelledTexts
from bedplate.adapt.tuning.class_validation import ClassValidation, per_text, scoring_places
from bedplate.adapt.tuning.classifier_net import ClassifierNet, Pooling
from bedplate.adapt.tuning.plan import Costs
from bedplate.adapt.tuning.start_head import probe_flops, probes
from bedplate.adapt.tuning.texts import SUFFIX, TextReader
from bedplate.adapt.tuning.tune import (
    Job,
    batch_of,
    check_validation,
    freeze_head,
    placement_for,
    planned,
    steps_of,
    tidy,
    tune,
)
from bedplate.errors import InputError
from bedplate.families.encoder_model import EncoderModel
from bedplate.objectives.classification import Classes
from bedplate.scaling.tuning_flops import NetFlops, net_flops
from bedplate.tasks.examples import Example

HEAD, CLASSES = "head.safetensors", "classes.json"
VERSION = 1


@dataclass(frozen=True)
class ClassData:
    """The task's texts as tokens; cut: how many of them lost their ends."""

    train: LabelledTexts
    validation: LabelledTexts
    cut: int


def fit_classes(way: TunedWay, fitting: Fitting) -> None:
    """Tune to a classification task and write the artefact's files.

    Raises InputError, naming the row, for texts that are too long and classes that can't be learned, RecipeError for a
    budget that is too small.
    """
    check_validation(fitting)
    placement = placement_for(fitting)
    body = Body.prepare(way, fitting, placement.dtype)
    model = body.model
    reader = TextReader(model, SUFFIX, way.length)
    data = read_task(way, fitting, reader)
    pooling: Pooling = model.pooling if isinstance(model, EncoderModel) else "last"
    freeze_head(model.net)
    net = ClassifierNet(model.net, pooling, len(fitting.task.classes))
    net.to(placement.device)
    net.compute_dtype = placement.dtype

    train = data.train
    count = len(train.labels)
    batch = batch_of(way, count)
    rows = ClassRows(train, batch, fitting.seed)
    costs = class_costs(net_flops(net, "row"), net, data, rows, steps_of(way, count))
    plan = planned(way, fitting, costs)

    fitting.work.console.say(f"{count} examples read as they are, for the head to start from")
    validation = ClassValidation(data.validation)
    start = start_head(net, train, validation)
    job = Job(
        net, body, Classes(), rows, batch, int(train.lengths.max()), validation, start, validation.rank,
        detail=lambda: list(validation.right), costs=costs,
        tokens=lambda step: int(train.lengths[rows.order(step * batch, batch)].sum()), rows_per_epoch=count,
    )  # fmt: skip
    best = tune(way, fitting, job, plan, placement)
    fitting.work.measures |= {"validation_right": best.detail, "texts_cut": data.cut}
    body.save(fitting.work.path)
    _save_head(way, fitting, net, reader)
    tidy(fitting)


def start_head(net: ClassifierNet, train: LabelledTexts, validation: ClassValidation) -> dict[str, Any]:
    """Give the head the linear probe that is best on validation by `validation.rank`; returns its scores."""
    states, held_out = (per_text(net, texts, net.states) for texts in (train, validation.texts))
    found = [
        (validation.judged(F.linear(held_out, weight, bias)), weight, bias)
        for weight, bias in probes(states, torch.from_numpy(train.labels), net.head_weight.shape[0])
    ]
    _, weight, bias = max(found, key=lambda each: validation.rank(each[0]))
    assert net.head.bias is not None
    with torch.no_grad():
        net.head.weight.copy_(weight)
        net.head.bias.copy_(bias)
    return validation.judged(F.linear(held_out, weight, bias))


def read_task(way: TunedWay, fitting: Fitting, reader: TextReader) -> ClassData:
    """Raises InputError for a text that is too long, or a class that the training examples don't have."""
    task = fitting.task
    if len(task.classes) < 2:
        raise InputError(f"{task.name}: one class only, {', '.join(task.classes)}", "Give examples of two or more.")
    number = {name: i for i, name in enumerate(task.classes)}
    cut = 0

    def read(examples: Sequence[Example]) -> LabelledTexts:
        nonlocal cut
        for example in examples:
            if example.target not in number:
                raise InputError(
                    f"{task.name} line {example.row}: the class {example.target!r} stands in no training example",
                    "Correct the label, or give training examples of it.",
                )
        found = reader.read([example.input for example in examples])
        if found.cut and way.too_long == "refuse":
            worst = max(found.cut, key=lambda i: found.whole[i])
            others = f" ({len(found.cut)} such examples)" if len(found.cut) > 1 else ""
            raise InputError(
                f"{task.name} line {examples[worst].row}: {found.whole[worst]} tokens, more than the {reader.most} "
                f"allowed{others}",
                f"{'Raise way.length' if reader.most == way.length else 'The model reads no more: shorten it'}, or cut "
                "such texts with way.too_long: truncate.",
            )
        cut += len(found.cut)
        labels = np.array([number[example.target] for example in examples], dtype=np.int64)
        return LabelledTexts(found.ids, labels, reader.pad)

    return ClassData(read(task.train), read(task.validation), cut)


def class_costs(flops: NetFlops, net: ClassifierNet, data: ClassData, rows: ClassRows, steps: int) -> Costs:
    """What each part of the work will cost, from the lengths of the texts."""

    def forward(texts: LabelledTexts) -> float:
        return sum(flops.forward.of(count, length) for count, length in scoring_places(texts.lengths))

    classes, width = net.head_weight.shape
    validation = forward(data.validation)
    return Costs(
        start=forward(data.train) + probe_flops(len(data.train.labels), width, classes) + validation,
        validation=validation,
        steps=tuple(flops.training.of(rows.batch, rows.longest(step)) for step in range(steps)),
    )


def _save_head(way: TunedWay, fitting: Fitting, net: ClassifierNet, reader: TextReader) -> None:
    tensors = {name: p.detach().cpu().contiguous() for name, p in net.head.named_parameters()}
    save_file(tensors, fitting.work.path / HEAD)
    facts: dict[str, Any] = {
        "version": VERSION,
        "classes": list(fitting.task.classes),
        "pooling": net.pooling,
        "suffix": reader.suffix if net.pooling == "last" else "",
        # Longer texts were cut there in training, so they are in use; where none was, the model's own limit holds.
        "length": reader.most if way.too_long == "truncate" else None,
    }
    text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    (fitting.work.path / CLASSES).write_text(text, encoding="utf-8")
