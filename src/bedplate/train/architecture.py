"""The shape of a model to be trained from nothing, of whatever family. No torch here."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from bedplate.config import Config
from bedplate.families.configs import Kind, config_class, kind_of
from bedplate.families.family_config import FamilyConfig
from bedplate.families.llama_config import LlamaArchitecture

VOCABULARY = frozenset({
    "vocab_size", "bos_token_id", "eos_token_id", "pad_token_id", "mask_token_id", "decoder_start_token_id",
})  # fmt: skip
"""What the tokenizer decides."""

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
        if not isinstance(given, dict) or "model_type" not in given:
            return given
        said = sorted(VOCABULARY & given.keys())
        if said:
            raise ValueError(f"{', '.join(said)}: the tokenizer decides the vocabulary and its special tokens")
        family = config_class(given["model_type"])
        try:
            config = family.model_validate(given | {"vocab_size": _ANY_VOCABULARY, "pad_token_id": 0})
        except ValidationError as error:
            raise ValueError(
                "; ".join(
                    f"{'.'.join(map(str, e['loc'])) or given['model_type']}: {e['msg'].removeprefix('Value error, ')}"
                    for e in error.errors()
                )
            ) from error
        # Where nobody says the longest sequence, it grows with the rows.
        unsaid = {"max_position_embeddings"} - given.keys()
        return config.model_dump(mode="json", exclude=set(VOCABULARY) | unsaid)

    @property
    def max_position_embeddings(self) -> int:
        """The longest sequence that it is meant for, as far as somebody said it."""
        said = (self.model_extra or {}).get("max_position_embeddings")
        return int(said or config_class(self.model_type).model_fields["max_position_embeddings"].default)


def _tag(given: Any) -> str:
    kind = given.get("model_type", "llama") if isinstance(given, dict) else getattr(given, "model_type", "llama")
    return "llama" if kind in _LLAMA else "other"


Architecture = Annotated[
    Annotated[LlamaArchitecture, Tag("llama")] | Annotated[FamilyArchitecture, Tag("other")], Discriminator(_tag)
]


def architecture_kind(shape: LlamaArchitecture | FamilyArchitecture) -> Kind:
    """Whether it is a decoder, an encoder or both."""
    return kind_of(shape.model_type)


def with_vocabulary(shape: LlamaArchitecture | FamilyArchitecture, length: int, **vocabulary: Any) -> FamilyConfig:
    """The model's configuration: its shape, room for rows of `length` tokens, and the vocabulary's keys, of which the
    family takes those that it has."""
    family = config_class(shape.model_type)
    keys = shape.model_dump() | {"max_position_embeddings": max(shape.max_position_embeddings, length)}
    known = {k: v for k, v in vocabulary.items() if k in family.model_fields}
    return family.model_validate(keys | known)
