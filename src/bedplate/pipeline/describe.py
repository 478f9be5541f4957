"""What a verb takes: its inputs and fields in words, for the manual."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from bedplate.config.model import is_execution
from bedplate.pipeline.stages import verb_stage


@dataclass(frozen=True)
class Field:
    """One field of a configuration; nested ones have dotted names, and "[]" after the name of a list."""

    name: str
    default: str
    text: str


@dataclass(frozen=True)
class Verb:
    """What a verb takes and makes."""

    kind: str
    inputs: dict[str, str]
    fields: list[Field]


def describe_verb(verb: str) -> Verb:
    """The description of one of Bedplate's own verbs."""
    stage = verb_stage(verb)
    inputs = {
        name: f"a {role} artefact{', or several' if role.many else ''}{' (optional)' if role.optional else ''}"
        for name, role in stage.roles().items()
    }
    return Verb(stage.kind, inputs, list(_fields(stage.config, "")))


def _fields(config: type[BaseModel], prefix: str) -> Iterator[Field]:
    for name, info in config.model_fields.items():
        text = info.description or ""
        if is_execution(config, name):
            text += " (Changes how, not what: what is made stays valid.)"
        yield Field(prefix + name, _default(info), text)
        told: set[Field] = set()
        for model, mark in _nested(info.annotation):
            for field in _fields(model, f"{prefix}{name}{mark}."):
                if field not in told:  # alternatives share fields
                    told.add(field)
                    yield field


def _nested(annotation: object) -> list[tuple[type[BaseModel], str]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [(annotation, "")]
    found = [(argument, model) for argument in get_args(annotation) for model, _ in _nested(argument)]
    listed = getattr(annotation, "__origin__", None) in (list, tuple)
    return [(model, "[]" if listed else "") for _, model in found]


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.default
    if value is PydanticUndefined:
        value = info.default_factory() if info.default_factory else None  # type: ignore[call-arg]
    if isinstance(value, BaseModel):
        return "see below"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)
