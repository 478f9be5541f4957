"""`build`: a stage's options checked against its configuration class, with errors that name file, line and key."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bedplate.config.model import Config
from bedplate.config.nearest import expected_one_of
from bedplate.config.recipe import ENTRY_KEYS, StageEntry
from bedplate.errors import RecipeError

C = TypeVar("C", bound=Config)


def build(cls: type[C], entry: StageEntry) -> C:
    """The configuration that the entry's options make. Raises RecipeError with a line for everything wrong in them."""
    try:
        config = cls.model_validate(entry.options)
    except ValidationError as error:
        lines = [_line(cls, entry, details) for details in error.errors()]
        raise RecipeError("\n".join(dict.fromkeys(lines)), None) from error
    for path, value in _truths_as_numbers(config, entry.options):
        key = ".".join(map(str, (entry.name, *path)))
        raise RecipeError(f"{entry.place(*path)}: stages.{key}: expected a number{_got(value)}", None)
    return config


def _truths_as_numbers(made: object, given: object) -> Iterator[tuple[tuple[str | int, ...], object]]:
    """Where true or false was taken for 1 or 0, as Python and pydantic have it: `steps: yes` isn't one step."""
    pairs: Iterable[tuple[str | int, object, object]] = ()
    if isinstance(given, bool):
        if isinstance(made, int | float) and not isinstance(made, bool):
            yield (), given
    elif isinstance(given, Mapping):
        inside = made if isinstance(made, Mapping) else getattr(made, "__dict__", {})
        pairs = [(key, inside.get(key), item) for key, item in given.items()]
    elif isinstance(given, list | tuple) and isinstance(made, list | tuple):
        pairs = [(index, *both) for index, both in enumerate(zip(made, given, strict=True))]
    for key, there, item in pairs:
        for path, value in _truths_as_numbers(there, item):
            yield (key, *path), value


def _line(cls: type[Config], entry: StageEntry, details: ErrorDetails) -> str:
    key = _written(details["loc"], entry.options, missing=details["type"] == "missing")
    start = f"{entry.place(*key)}: stages.{'.'.join(map(str, (entry.name, *key)))}"
    match details["type"]:
        case "extra_forbidden":
            known = _fields(cls, details["loc"][:-1])
            if len(key) == 1 and entry.where:  # in a recipe these stand beside the options; a mapping has only those
                known = [*known, *ENTRY_KEYS]
            return f"{start}: unknown key; {expected_one_of(str(key[-1]), known)}"
        case "missing":
            return f"{start}: missing; {_description(cls, details['loc'])}"
        case "union_tag_invalid":
            tag, tags = details["ctx"]["tag"], details["ctx"]["expected_tags"]
            known = [name.strip(" '") for name in tags.split(",")]
            what = details["ctx"]["discriminator"].strip("'")
            return f"{start}: unknown {what} {tag!r}; {expected_one_of(tag, known)}"
        case kind:
            message = details["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
            message = _EXPECTED.get(kind) or _lower(message.replace("Input should be", "must be", 1))
            return f"{start}: {message}{_got(details['input'])}"


_EXPECTED = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "expected a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "expected a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "expected true or false"),
    **dict.fromkeys(("tuple_type", "list_type", "set_type", "frozen_set_type"), "expected a list"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "expected a mapping"),
    "string_type": "expected a text",
}
"""pydantic's kinds of error, in the words of somebody who writes YAML and not Python."""


def _written(loc: Sequence[str | int], options: Any, *, missing: bool) -> tuple[str | int, ...]:
    """The key path as the user wrote it. pydantic's locations also name the branches of unions: those are left out."""
    path: list[str | int] = []
    at = options
    for index, part in enumerate(loc):
        inside = (isinstance(at, dict) and part in at) or (
            isinstance(at, list) and isinstance(part, int) and part < len(at)
        )
        if inside:
            path.append(part)
            at = at[part]
        elif missing and index == len(loc) - 1:
            path.append(part)
    return tuple(path)


def _fields(annotation: object, loc: Sequence[str | int]) -> list[str]:
    """The keys that the model at `loc`, seen from `annotation`, knows."""
    models = [annotation] if _is_model(annotation) else list(_models(annotation))
    for part in loc:
        below: list[object] = []
        for model in models:
            if isinstance(part, str) and part in model.model_fields:  # type: ignore[attr-defined]
                below += _models(model.model_fields[part].annotation)  # type: ignore[attr-defined]
        if below:
            models = below
        elif isinstance(part, str):  # the branch of a union
            models = _branch(models, part) or models
    return list(dict.fromkeys(name for model in models for name in model.model_fields))  # type: ignore[attr-defined]


def _branch(models: list[object], tag: str) -> list[object]:
    """The models of a union that a tag of pydantic's names: by class, or by the value of a discriminating field."""
    return [
        model
        for model in models
        if model.__name__ == tag  # type: ignore[attr-defined]
        or any(tag in get_args(field.annotation) for field in model.model_fields.values())  # type: ignore[attr-defined]
    ]


def _models(annotation: object) -> list[object]:
    """Every model class inside a type: `list[A | B]` holds A and B."""
    if _is_model(annotation):
        return [annotation]
    if get_origin(annotation) is None and not isinstance(annotation, types.UnionType):
        return []
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _description(cls: type[Config], loc: Sequence[str | int]) -> str:
    models = [cls] if len(loc) == 1 else []
    if not models:
        return "it has no default"
    field = cls.model_fields.get(str(loc[-1]))
    return field.description if field and field.description else "it has no default"


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _got(value: object) -> str:
    """What was given. A rule about several fields is given them all, which would only bury its message."""
    if isinstance(value, dict):
        return ""
    text = repr(value)
    return f"; got {text if len(text) <= 80 else f'{text[:77]}...'}{_yaml_trap(value)}"


def _yaml_trap(value: object) -> str:
    """YAML 1.1 reads yes, no, on and off as booleans, which surprises people who write `language: no`."""
    return " (YAML reads yes, no, on and off as true and false: quote the word)" if isinstance(value, bool) else ""
