"""The shape of a model to be trained from nothing, of whatever family. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator
from pydantic_core import ErrorDetails

from bedplate.config import Config
from bedplate.config.nearest import expected_one_of
from bedplate.errors import RecipeError
from bedplate.families.configs import Kind, config_class, kind_of
from bedplate.families.family_config import FamilyConfig
from bedplate.families.llama_config import LlamaArchitecture

VOCABULARY = frozenset({
    "vocab_size", "bos_token_id", "eos_token_id", "pad_token_id", "mask_token_id", "decoder_start_token_id",
    "forced_bos_token_id",
})  # fmt: skip
"""What the tokenizer decides."""
HEAD = frozenset({"head", "labels", "problem_type"})
"""What the objective decides."""

_ANY_VOCABULARY = 1 << 16
"""Stands for the tokenizer's while a shape is checked."""
_LLAMA = frozenset({"llama", "mistral", "qwen2", "qwen3"})


class FamilyArchitecture(Config):
    """The shape of a model of any family but Llama's; its keys are those of that family's configuration."""

    model_config = ConfigDict(extra="allow")

    model_type: str = Field(description="the family: gpt2, gemma2, mixtral, bert, modernbert, esm, t5 and others")
    hidden_size: int = Field(gt=0, description="width of the residual stream")
    num_hidden_layers: int = Field(gt=0, description="blocks; of the encoder where there is a decoder beside it")

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, given: Any) -> Any:
        """Checked by the family itself, and given back with its defaults written out."""
        if not isinstance(given, dict) or not isinstance(given.get("model_type"), str):
            return given
        for keys, who in (
            (VOCABULARY, "the tokenizer decides the vocabulary and its special tokens"),
            (HEAD, "the objective decides which head a model is trained with"),
        ):
            if said := sorted(keys & given.keys()):
                raise ValueError(f"{', '.join(said)}: {who}; leave {'it' if len(said) == 1 else 'them'} out")
        family = config_class(given["model_type"])
        try:
            config = family.model_validate(given | _stand_ins(family))
        except ValidationError as error:
            raise ValueError("; ".join(dict.fromkeys(_problem(family, e) for e in error.errors()))) from error
        # Where nobody says the longest sequence, it grows with the rows.
        unsaid = {"max_position_embeddings"} - given.keys()
        return config.model_dump(mode="json", exclude=set(VOCABULARY | HEAD) | unsaid)

    @property
    def max_position_embeddings(self) -> int:
        """The longest sequence that it is meant for, as far as somebody said it."""
        said = (self.model_extra or {}).get("max_position_embeddings")
        return int(said or config_class(self.model_type).model_fields["max_position_embeddings"].default)


def _tag(given: Any) -> str:
    kind = given.get("model_type", "llama") if isinstance(given, dict) else getattr(given, "model_type", "llama")
    return "llama" if isinstance(kind, str) and kind in _LLAMA else "other"


Shape = LlamaArchitecture | FamilyArchitecture
Architecture = Annotated[
    Annotated[LlamaArchitecture, Tag("llama")] | Annotated[FamilyArchitecture, Tag("other")], Discriminator(_tag)
]


def architecture_kind(shape: Shape) -> Kind:
    """Whether it is a decoder, an encoder or both."""
    return kind_of(shape.model_type)


def positions_said(shape: Shape) -> int | None:
    """Its max_position_embeddings, None where nobody says it."""
    return shape.max_position_embeddings if "max_position_embeddings" in shape.model_fields_set else None


def stand_in(shape: Shape) -> FamilyConfig:
    """The model's configuration before a tokenizer is there: some vocabulary, and no head."""
    family = config_class(shape.model_type)
    return family.model_validate(shape.model_dump() | _stand_ins(family))


def with_vocabulary(shape: Shape, length: int, **keys: Any) -> FamilyConfig:
    """The model's configuration: its shape, room for rows of `length` tokens, and the vocabulary's and head's keys, of
    which the family takes those that it has. Raises RecipeError for what these make impossible."""
    family = config_class(shape.model_type)
    known = {k: v for k, v in keys.items() if k in family.model_fields}
    said = positions_said(shape)
    rows = said or max(shape.max_position_embeddings, length)
    config = _made(family, shape.model_dump() | {"max_position_embeddings": rows} | known)
    # Some families count positions from a later row of their table.
    missing = length - int(getattr(config, "positions", rows))
    if missing > 0 and said is not None:
        raise RecipeError(
            f"architecture: max_position_embeddings {rows} leaves {shape.model_type} {length - missing} positions, and "
            f"rows have {length} tokens",
            f"Raise it to {rows + missing}, or lower length.",
        )
    if missing > 0:
        config = _made(family, shape.model_dump() | {"max_position_embeddings": rows + missing} | known)
    return config


def _made(family: type[FamilyConfig], keys: dict[str, Any]) -> FamilyConfig:
    try:
        return family.model_validate(keys)
    except ValidationError as error:
        problems = "; ".join(_problem(family, e) for e in error.errors())
        raise RecipeError(
            f"architecture: {problems}", "Change the architecture, or take a tokenizer that has what it needs."
        ) from error


def _stand_ins(family: type[FamilyConfig]) -> dict[str, int]:
    keys = {"vocab_size": _ANY_VOCABULARY, "pad_token_id": 0, "mask_token_id": 1}
    return {name: value for name, value in keys.items() if name in family.model_fields}


def _problem(family: type[FamilyConfig], e: ErrorDetails) -> str:
    """One of pydantic's errors in the words of a recipe."""
    place = ".".join(map(str, e["loc"]))
    match e["type"]:
        case "extra_forbidden":
            known = [name for name in _keys(family, e["loc"][:-1]) if name not in VOCABULARY | HEAD]
            return f"{place}: unknown key; {expected_one_of(str(e['loc'][-1]), known)}"
        case "missing":
            field = family.model_fields.get(str(e["loc"][-1]))
            said = field.description if field is not None and len(e["loc"]) == 1 else None
            return f"{place}: missing; {said or 'it has no default'}"
        case _:
            message = e["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
            got = "" if isinstance(e["input"], dict) else f"; got {e['input']!r}"
            return f"{place}: {message}{got}" if place else message


def _keys(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """The keys of the part of a configuration that stands at `loc`."""
    for part in loc:
        field = model.model_fields.get(str(part))
        types = (field.annotation, *get_args(field.annotation)) if field is not None else ()
        inside = [t for t in types if isinstance(t, type) and issubclass(t, BaseModel)]
        if not inside:
            return []
        model = inside[0]
    return list(model.model_fields)
