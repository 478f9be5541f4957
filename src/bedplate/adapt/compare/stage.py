"""The compare stage: its declaration, its raw sources, and what is found wrong before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bedplate.adapt.compare.config import CompareConfig, asks_endpoint, rests_on
from bedplate.adapt.stage_config import AdaptConfig, check_adapt
from bedplate.adapt.ways import described
from bedplate.errors import RecipeError
from bedplate.ledger.stage import SourceInput, Stage

__all__ = ["COMPARE", "CompareConfig", "adapt_config", "check", "sources"]

COMPARE = Stage(
    name="compare",
    version=1,
    kind="report",
    config=CompareConfig,
    inputs={"base": "model|release|run?", "encoder": "model|release|run?", "index": "index?", "task": "task?"},
    run="bedplate.adapt.compare.comparison:run",
    sources="bedplate.adapt.compare.stage:sources",
    check="bedplate.adapt.compare.stage:check",
)


def sources(config: CompareConfig) -> list[SourceInput]:
    """The task's files, where it has any."""
    if config.task is None or config.task.file is None:
        return []
    from bedplate.tasks.task_file import task_sources

    return task_sources(config.task)


def adapt_config(config: CompareConfig, way: Any, seed: int) -> AdaptConfig:
    """The configuration of the adapt stage that makes one way with one seed."""
    return AdaptConfig(
        task=config.task,
        way=way,
        seed=seed,
        budget=config.budget,
        endpoint=config.endpoint if asks_endpoint(way, config) else None,
    )


def check(config: CompareConfig, made_from: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise RecipeError, naming the way, for ways that lack an input; InputError for a task that can't be used."""
    for way in config.ways:
        needed = {"task", *rests_on(way, config)}
        given = {role: settings for role, settings in made_from.items() if role in needed}
        try:
            check_adapt(adapt_config(config, way, config.seeds[0]), given)
        except RecipeError as error:
            raise RecipeError(f"way {described(way)!r}: {error.problem}", error.fix) from error
    if config.task is not None and config.task.file is not None and Path(config.task.file).is_file():
        from bedplate.adapt.compare.examples import prepared

        prepared(config, None)
