"""The adapt stage: one way of adapting, fitted to one task, becomes an artefact that can be asked. No torch here."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedplate.adapt.stage_config import (
    CLASSIFIERS,
    AdaptConfig,
    check_adapt,
    check_task,
    check_way,
    kind_of,
    retrieval_needs_answers,
)
from bedplate.errors import InternalError, RecipeError
from bedplate.ledger.artefact import Artefact
from bedplate.ledger.manifest import Input, Manifest
from bedplate.ledger.stage import Inputs, SourceInput, Stage, flatten

if TYPE_CHECKING:
    from bedplate.adapt.face import Base, Face
    from bedplate.ledger.work import Work
    from bedplate.tasks.examples import Task

__all__ = ["ADAPT", "AdaptConfig", "check_adapt", "kind_of", "run", "sources"]

SELF_CHECK = 32
"""Validation examples that the finished artefact is asked where its way has scored itself on all of them."""
MOST_CHANGED = 0.1
"""Share of these that may come out otherwise than while fitting: in bfloat16 another batch rounds otherwise."""

ADAPT = Stage(
    name="adapt",
    version=1,
    kind="prompt|probe|adapter|model|baseline",
    config=AdaptConfig,
    inputs={"base": "model|release|run?", "encoder": "model|release|run?", "index": "index?", "task": "task?"},
    run="bedplate.adapt.stage:run",
    sources="bedplate.adapt.stage:sources",
    check="bedplate.adapt.stage:check_adapt",
    kind_of="bedplate.adapt.stage:kind_of",
)


def sources(config: AdaptConfig) -> list[SourceInput]:
    """The task's files, where it has any: changed examples mean another artefact."""
    if config.task is None or config.task.file is None:
        return []
    from bedplate.tasks.task_file import task_sources

    return task_sources(config.task)


def run(config: AdaptConfig, inputs: Inputs, work: Work) -> None:
    """Fit the way to the task, open what it made, and ask that a few validation examples.

    A way may leave `validation_right` in the measures, whether it was right on each validation example; what is opened
    again must then agree with it. Otherwise the opened artefact is scored on all of them.

    Raises RecipeError for a way, a task and inputs that don't go together, and what reading the task raises.
    """
    from bedplate.adapt.dispatch import fit_way
    from bedplate.adapt.fitting import Fitting
    from bedplate.tasks.task_file import limited

    given = dict(flatten(inputs))
    check_task(config, {role: artefact.config for role, artefact in given.items()})
    check_way(config.way, set(given), config.endpoint is not None)
    task = _task(config, given.get("task"))
    check_kind(config.way, task)
    # Whatever the seed, the same examples: it is what a way draws that differs, never what it may learn from.
    task = limited(task, labels=config.budget.labels, validation=config.budget.validation)
    fitting = Fitting(
        task=task,
        budget=config.budget,
        seed=config.seed,
        work=work,
        artefacts={role: artefact for role, artefact in given.items() if role != "task"},
        make_base=_base(config, given),
    )
    began = time.monotonic()
    fit_way(config.way, fitting)
    work.measures |= {
        "way": config.way.way,
        "labels_used": _labels_used(config.way, task),
        "validation_examples": len(task.validation),
        "train_seconds": round(time.monotonic() - began, 3),
        "bytes": sum(f.stat().st_size for f in work.path.rglob("*") if f.is_file() and not f.name.startswith(".")),
    }
    _check_itself(config, given, task, work)
    told = ("way", "validation_accuracy", "labels_used", "train_seconds")
    # What a reader looks for comes first: summaries show no more.
    work.measures = {name: work.measures[name] for name in told if name in work.measures} | work.measures


def check_kind(way: Any, task: Task) -> None:
    """Raise RecipeError for a way that can't do this kind of task."""
    if task.kind == "generation" and way.way in CLASSIFIERS:
        raise RecipeError(
            f"the way {way.way!r} tells classes apart, and the task {task.name!r} asks for free text",
            "Take zero-shot, few-shot, retrieval or lora, or give a task of text and label.",
        )
    if task.kind == "classification" and way.way == "retrieval":
        raise RecipeError(*retrieval_needs_answers())


def _task(config: AdaptConfig, artefact: Artefact | None) -> Task:
    from bedplate.adapt.ways import TaskConfig
    from bedplate.tasks.examples import Task
    from bedplate.tasks.task_file import load_task

    if artefact is None and (config.task is None or config.task.file is None):
        return Task("none", "generation", (), (), (), ())
    return load_task(config.task or TaskConfig.model_validate({}), None if artefact is None else artefact.path)


def _base(config: AdaptConfig, given: dict[str, Artefact]) -> Any:
    endpoint = config.endpoint
    if endpoint is not None:
        from bedplate.adapt.endpoint import EndpointBase

        return lambda: EndpointBase(endpoint)
    if "base" not in given:
        return None

    def local() -> Base:
        from bedplate.adapt.bases import LocalBase

        return LocalBase(given["base"].path, name=given["base"].name)

    return local


def _labels_used(way: Any, task: Task) -> int:
    """Labelled training examples that the artefact was made from. (Validation labels are counted apart.)"""
    if way.way in ("zero-shot", "retrieval"):
        return 0
    fixed = way.way == "few-shot" and way.examples == "fixed"
    return min(way.shots, len(task.train)) if fixed else len(task.train)


def _check_itself(config: AdaptConfig, given: dict[str, Artefact], task: Task, work: Work) -> None:
    """Open what was made as anybody would, and ask it: an artefact that can't be used is never committed."""
    from bedplate.adapt.dispatch import open_way

    before = work.measures.pop("validation_right", None)
    if before:
        work.measures["validation_accuracy"] = sum(before) / len(before)
    face = open_way(_provisional(config, given, work))
    scored = "validation_accuracy" in work.measures
    examples = task.validation[:SELF_CHECK] if scored else task.validation
    if not examples:
        return
    right = _right(face, task, [e.input for e in examples], [e.target for e in examples])
    if before and sum(now != then for now, then in zip(right, before, strict=False)) > MOST_CHANGED * len(right):
        raise InternalError(
            f"the way {config.way.way!r}: the artefact, opened again, is right on {sum(right)} of {len(right)} "
            f"validation examples, where it was right on {sum(before[: len(right)])} while it was made"
        )
    if not scored:
        work.measures["validation_accuracy"] = sum(right) / len(right)
    work.measures["self_check"] = {"examples": len(right), "accuracy": sum(right) / len(right)}


def _right(face: Face, task: Task, texts: list[str], targets: list[str]) -> list[bool]:
    if task.kind == "classification":
        from bedplate.adapt.face import Classifier

        if not isinstance(face, Classifier):
            raise InternalError(f"{face.name}: made for classes, and has no classify")
        result = face.classify(texts)
        if len(result.labels) != len(texts) or abs(result.scores.sum(axis=1) - 1).max() > 1e-3:
            raise InternalError(f"{face.name}: its scores aren't probabilities of {len(texts)} texts")
        return [label == target for label, target in zip(result.labels, targets, strict=True)]
    from bedplate.adapt.asking import ask_all, is_right
    from bedplate.adapt.face import Answerer

    if not isinstance(face, Answerer):
        raise InternalError(f"{face.name}: made for answers, and has no generate")
    answers = ask_all(face, [[{"role": "user", "content": text}] for text in texts])
    return [is_right(answer.text, target) for answer, target in zip(answers, targets, strict=True)]


def _provisional(config: AdaptConfig, given: dict[str, Artefact], work: Work) -> Artefact:
    """The unfinished artefact as openers want it: the manifest says what it was made from; nothing is hashed yet."""
    from bedplate.ledger.environment import code, environment
    from bedplate.ledger.production import relative_path

    manifest = Manifest(
        kind=kind_of(config),
        name=Path(work.path).name.partition(".partial-")[0],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        stage=ADAPT.name,
        stage_version=ADAPT.version,
        key="",
        digest="",
        inputs=tuple(
            Input(role=role, kind=a.kind, name=a.name, digest=a.digest, path=relative_path(a.path, work.path))
            for role, a in given.items()
        ),
        config=config.model_dump(mode="json"),
        semantic=config.semantic(),
        code=code(),
        environment=environment(),
        resources={},
        measures=dict(work.measures),
        outputs=(),
        newest_mtime_ns=0,
    )
    return Artefact(work.path, manifest)
