"""Overrides: `stage.field=value`, the same everywhere, laid over a recipe before it is read."""

from __future__ import annotations

from typing import Any

from bedplate.config.document import KeyPath, Place, parse
from bedplate.config.nearest import expected_one_of
from bedplate.errors import RecipeError


def parse_override(text: str) -> tuple[list[str], Any]:
    """Split "model.optimizer.lr=0.01" in its path and its value, which is read as YAML.

    Raises RecipeError if it isn't `stage.field=value`.
    """
    path, equals, value = text.partition("=")
    parts = path.strip().split(".")
    if not equals or len(parts) < 2 or not all(parts):
        raise RecipeError(f"override {text!r}: not of the form stage.field=value", "For example: model.steps=400")
    return parts, parse(value, f"override {text!r}")[0]


def unshared(value: Any) -> Any:
    """The same mappings and lists, none of them in two places: YAML's aliases and merge keys share theirs, and what is
    set in one stage would show in another."""
    if isinstance(value, dict):
        return {key: unshared(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unshared(item) for item in value]
    return value


def apply_override(text: str, stages: dict[str, dict[str, Any]], where: dict[KeyPath, Place]) -> None:
    """Set one value in `stages` (stage name -> its mapping), and its place in `where` (paths from the stage's name).

    Mappings on the way are made where they are missing; a number steps into a list. Raises RecipeError if the stage is
    unknown or the path leads through something that is neither.
    """
    parts, value = parse_override(text)
    place = Place(f"override {text!r}", None)
    if parts[0] not in stages:
        raise RecipeError(f"{place}: unknown stage {parts[0]!r}; {expected_one_of(parts[0], stages)}", None)
    at: Any = stages[parts[0]]
    path: KeyPath = (parts[0],)
    for part, following in zip(parts[1:], [*parts[2:], None], strict=True):
        step = _step(at, part, ".".join(map(str, path)), place)
        path = (*path, step)
        if following is None:
            at[step] = value
        else:
            if isinstance(at, dict) and at.get(step) is None:
                at[step] = {}
            at = at[step]
    for below in [old for old in where if old[: len(path)] == path]:
        del where[below]
    where[path] = place


def _step(at: object, part: str, path: str, place: Place) -> str | int:
    if isinstance(at, dict):
        return part
    if isinstance(at, list):
        if part.isdigit() and int(part) < len(at):
            return int(part)
        raise RecipeError(f"{place}: {path} is a list of {len(at)}, and {part!r} isn't one of its places", None)
    raise RecipeError(f"{place}: {path} is {at!r}, which has nothing inside", None)
