"""`Config`: the base of every stage's configuration, and which of its fields change what is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_EXECUTION = "execution"


def execution(default: Any, *, description: str, **constraints: Any) -> Any:
    """A field that changes how the work is done and not what comes out: workers, how often to log.

    It is left out of `Config.semantic()`, so that changing it doesn't invalidate what is already made. `constraints`
    go to `pydantic.Field` (ge, le, ...).
    """
    return Field(default, description=description, json_schema_extra={_EXECUTION: True}, **constraints)


class Config(BaseModel):
    """A frozen, strictly checked configuration. Unknown keys are errors; every field carries a description."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        bare = [name for name, field in cls.model_fields.items() if not field.description]
        if bare:
            raise TypeError(f"{cls.__qualname__}: fields without a description: {', '.join(bare)}")

    def semantic(self) -> dict[str, Any]:
        """The JSON-able part of the configuration that decides what comes out: all but the `execution` fields.

        Nested configurations are treated alike, sets come sorted, and so equal configurations give equal values.
        """
        return {
            name: _semantic(getattr(self, name), value)
            for name, value in self.model_dump(mode="json").items()
            if not is_execution(type(self), name)
        }


def is_execution(config: type[BaseModel], field: str) -> bool:
    """Whether the field was declared with `execution`; keys beyond the declared fields aren't."""
    declared = config.model_fields.get(field)
    extra = declared.json_schema_extra if declared is not None else None
    return isinstance(extra, dict) and extra.get(_EXECUTION) is True


def _semantic(value: object, dumped: Any) -> Any:
    """Prune `dumped`, the JSON form of `value`, of what the configurations inside it call execution."""
    if isinstance(value, Config):
        return value.semantic()
    if isinstance(value, Mapping):
        # JSON turns keys into strings in the mapping's own order, so the two run in step.
        return {key: _semantic(item, dumped[key]) for key, item in zip(dumped, value.values(), strict=True)}
    if isinstance(value, list | tuple):
        return [_semantic(item, form) for item, form in zip(value, dumped, strict=True)]
    if isinstance(value, set | frozenset):
        return sorted(dumped, key=repr)
    return dumped
