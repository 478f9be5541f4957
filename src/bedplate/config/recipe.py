"""Recipes: a YAML file that names stages, what each does, from what, and with which options."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedplate.config.document import KeyPath, Place, read_document
from bedplate.config.nearest import expected_one_of
from bedplate.config.overrides import apply_override, unshared
from bedplate.errors import RecipeError

RECIPE_KEYS = ("name", "stages")
ENTRY_KEYS = ("do", "inputs", "out")

_RECIPE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_STAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # no dots: overrides use them


@dataclass(frozen=True)
class StageEntry:
    """One stage as the recipe has it, not yet checked against the stage's own configuration."""

    name: str
    do: str
    """The verb, or "some.module:STAGE" for one from outside."""
    inputs: dict[str, str | list[str]]
    """Role -> another stage's name, or a path to an artefact; lists where the role takes many."""
    out: str | None
    """Where the artefact goes, if not to the usual place."""
    options: dict[str, Any]
    """Everything else: the stage's configuration."""
    where: dict[KeyPath, Place] = field(default_factory=dict, compare=False)
    """Where each key was written; paths start inside the entry, () is the entry itself."""

    def place(self, *path: str | int) -> Place:
        """Where the key was written, or else the nearest thing around it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.where:
                return self.where[path[:length]]
        return Place(f"stage {self.name}", None)


@dataclass(frozen=True)
class Recipe:
    """A recipe with its overrides applied."""

    name: str
    path: Path
    stages: dict[str, StageEntry]


def load_recipe(path: Path | str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and lay `stage.field=value` overrides over it.

    Raises RecipeError, naming file, line and key, for anything that isn't a recipe. Options are checked later, by
    `build`, against the stage's own configuration.
    """
    path = Path(path)
    document, where = read_document(path)
    if not isinstance(document, dict):
        raise RecipeError(f"{path}: a recipe is a mapping with the keys name and stages", _EXAMPLE)
    for key in document:
        if key not in RECIPE_KEYS:
            raise RecipeError(f"{where[(key,)]}: {key}: unknown key; {expected_one_of(str(key), RECIPE_KEYS)}", None)
    name = document.get("name", path.stem)
    if not isinstance(name, str) or not _RECIPE_NAME.fullmatch(name):
        raise RecipeError(
            f"{where.get(('name',), path)}: name: {name!r} can't be a folder's name",
            "Use letters, digits, dots, hyphens and underscores.",
        )
    stages = document.get("stages")
    if not isinstance(stages, dict) or not stages:
        raise RecipeError(f"{where.get(('stages',), path)}: stages: expected a mapping of stages", _EXAMPLE)
    inside = {place[1:]: line for place, line in where.items() if place[0] == "stages" and len(place) > 1}
    for stage, entry in stages.items():
        if not isinstance(stage, str) or not _STAGE_NAME.fullmatch(stage):
            raise RecipeError(
                f"{inside[(stage,)]}: stages.{stage}: not a stage's name", "Use letters, digits, hyphens, underscores."
            )
        if not isinstance(entry, dict):
            raise RecipeError(f"{inside[(stage,)]}: stages.{stage}: expected a mapping with the key do", _EXAMPLE)
    stages = unshared(stages)
    for override in overrides:
        apply_override(override, stages, inside)
    return Recipe(name, path, {stage: _entry(stage, entry, inside) for stage, entry in stages.items()})


_EXAMPLE = "For example:\n  name: mine\n  stages:\n    corpus: {do: curate, ...}"


def _entry(name: str, raw: dict[str, Any], inside: dict[KeyPath, Place]) -> StageEntry:
    where = {path[1:]: place for path, place in inside.items() if path[0] == name}
    at = StageEntry(name, "", {}, None, {}, where).place
    do = raw.get("do")
    if not isinstance(do, str) or not do:
        raise RecipeError(f"{at('do')}: stages.{name}.do: expected the stage's verb", "For example: do: curate")
    out = raw.get("out")
    if out is not None and (not isinstance(out, str) or not out):
        raise RecipeError(f"{at('out')}: stages.{name}.out: expected a path; got {out!r}", None)
    options = {}
    for key, value in raw.items():
        if not isinstance(key, str):
            raise RecipeError(
                f"{at(key)}: stages.{name}.{key}: a key must be a word; YAML reads this one as {key!r}", "Quote it."
            )
        if key not in ENTRY_KEYS:
            options[key] = value
    return StageEntry(name, do, _inputs(name, raw.get("inputs"), at("inputs")), out, options, where)


def _inputs(name: str, raw: object, place: Place) -> dict[str, str | list[str]]:
    if raw is None:
        return {}
    if isinstance(raw, dict):
        words = [word for value in raw.values() for word in (value if isinstance(value, list) else [value])]
        if all(isinstance(word, str) and word for word in (*raw, *words)):
            return dict(raw)
    raise RecipeError(
        f"{place}: stages.{name}.inputs: expected a mapping of roles to stages or paths; got {raw!r}",
        "For example: inputs: {corpus: corpus}",
    )
