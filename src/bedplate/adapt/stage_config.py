"""The adapt stage's configuration, and what can be known to be wrong with it before anything runs. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from bedplate.adapt.ways import KINDS, TUNED, BudgetConfig, EndpointConfig, TaskConfig, Way
from bedplate.config import Config
from bedplate.errors import RecipeError

CLASSIFIERS = frozenset({"majority", "keywords", "tfidf", "nearest", "probe"})
"""Ways that only tell classes apart."""


class AdaptConfig(Config):
    """One way of adapting, fitted to one task."""

    task: TaskConfig | None = Field(
        None, description="the task file; absent where there is a `task` input, or for retrieval"
    )
    way: Way = Field(description="how to adapt, and with what settings")
    seed: int = Field(0, ge=0, description="seed of all that is drawn: examples, orders, initial weights")
    budget: BudgetConfig = Field(
        default_factory=lambda: BudgetConfig.model_validate({}), description="what the way may spend"
    )
    endpoint: EndpointConfig | None = Field(None, description="an OpenAI-compatible server in place of the base")


def kind_of(config: AdaptConfig) -> str:
    """The kind of artefact that this configuration makes."""
    return KINDS[config.way.way]


def check_adapt(config: AdaptConfig, made_from: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise RecipeError, naming the input, for a way whose inputs are missing or can't go together."""
    check_task(config, made_from)
    check_way(config.way, set(made_from), config.endpoint is not None)
    if config.way.way == "retrieval" and config.task is not None and (config.task.label or config.task.text):
        raise RecipeError(*retrieval_needs_answers())


def check_task(config: AdaptConfig, made_from: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise RecipeError unless there is one task, a file or an input. Retrieval, which learns nothing, needs none."""
    named = config.task is not None and config.task.file is not None
    if named and "task" in made_from:
        raise RecipeError("adapt: both task.file and an input `task` are given", "Give one of them.")
    if not named and "task" not in made_from and config.way.way != "retrieval":
        raise RecipeError("adapt: no task to adapt to", "Give task: {file: examples.jsonl}, or inputs: {task: ...}.")


def check_way(way: Any, inputs: set[str], endpoint: bool) -> None:
    """Raise RecipeError for a way that lacks an input. inputs: the roles that are given."""
    where = f"the way {way.way!r}"
    if "base" in inputs and endpoint:
        raise RecipeError("adapt: both an input `base` and an endpoint are given", "Give one of them.")
    if way.way in TUNED and getattr(way, "tune", "base") == "base" and endpoint:
        raise RecipeError(
            f"{where} trains weights, and an endpoint's can't be trained",
            "Give inputs: {base: ...}, a model on this machine, or set way.tune: encoder.",
        )
    for role, why in _needs(way):
        if role == "base" and endpoint:
            continue
        if role not in inputs:
            also = " (or an endpoint)" if role == "base" and way.way not in TUNED else ""
            raise RecipeError(f"{where} needs the input {role!r}{also}: {why}", f"Give inputs: {{{role}: ...}}.")


def retrieval_needs_answers() -> tuple[str, str]:
    """Problem and fix of a retrieval on a task of classes."""
    return (
        "the way 'retrieval' answers questions, and this task asks for classes",
        "Give a task of prompt and answer, or take nearest, which votes by similar examples.",
    )


def _needs(way: Any) -> list[tuple[str, str]]:
    if way.way in TUNED:
        on = getattr(way, "tune", "base")
        return [(on, f"it is what is tuned (way.tune: {on})")]
    if way.way in ("nearest", "probe"):
        return [("encoder", "it works on embeddings")]
    if way.way == "zero-shot":
        return [("base", "it is what is asked")]
    if way.way == "few-shot":
        encoder = [("encoder", "it finds the nearest examples (way.examples: nearest)")]
        return [("base", "it is what is asked"), *(encoder if way.examples == "nearest" else [])]
    if way.way == "retrieval":
        return [("base", "it writes the answers"), ("index", "it is what is searched")]
    return []
