"""What every family's configuration is made of, and how its Hugging Face `config.json` is read and written.

A family says its own fields and, in `hf`, how they are spelt; keys that would change the mathematics and aren't
supported are refused, never ignored. No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from bedplate.config.model import Config
from bedplate.errors import WeightsError

# Far beyond any model; a damaged or hostile file that says more would be built for hours.
MAX_LAYERS = 10_000
# Positions are turned into fp32 angles and GGUF counts them in 32 bits.
MAX_POSITIONS = 2**31 - 1
# Blocks times the experts of each, of which every one has tensors of its own.
MAX_PARTS = 2**18
# Numbers in one matrix: the bytes of more can't be counted in the 63 bits that torch has, even before any is allocated.
MAX_NUMBERS = 2**59

TokenId = Annotated[int, Field(ge=0, strict=True)]
TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")

HARMLESS = frozenset({
    "architectures", "torch_dtype", "dtype", "transformers_version", "use_cache", "initializer_range", "_name_or_path",
    "attention_dropout", "hidden_dropout", "attn_pdrop", "embd_pdrop", "resid_pdrop", "resid_dropout",
    "embedding_dropout", "classifier_dropout", "classifier_dropout_prob", "hidden_dropout_prob",
    "attention_probs_dropout_prob", "gradient_checkpointing", "return_dict", "return_dict_in_generate",
    "output_attentions", "output_hidden_states", "output_router_logits", "id2label", "label2id", "num_labels",
    "problem_type", "chunk_size_feed_forward", "task_specific_params", "finetuning_task", "tokenizer_class",
    "transformers.js_config", "_attn_implementation_autoset", "unsloth_fixed", "unsloth_version", "sep_token_id",
    "cls_token_id", "mask_token_id", "model_max_length", "quantization_config_origin", "output_past",
})  # fmt: skip
"""Keys that say nothing about the mathematics of a forward pass, in any family."""

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "max_length": (20,), "min_length": (0,), "num_beams": (1,), "num_beam_groups": (1,), "diversity_penalty": (0,),
    "temperature": (1,), "top_k": (50,), "top_p": (1,), "typical_p": (1,), "repetition_penalty": (1,),
    "length_penalty": (1,), "no_repeat_ngram_size": (0,), "encoder_no_repeat_ngram_size": (0,),
    "num_return_sequences": (1,), "eos_token_ids": (0,),
}  # fmt: skip
"""Keys that whole dumps of old configurations carry with the value that changes nothing when a text is written."""


@dataclass(frozen=True)
class HuggingFace:
    """How a family's fields are spelt in `config.json`.

    architecture: the class of transformers that loads what we write. renamed: our field -> their key, where it isn't
    the same. defaults: what transformers assumes of their keys where the file is silent and our own default differs.
    only: keys that must have one of these values or be absent. harmless: keys of this family alone that change nothing.
    written: keys that other readers want and that have but one value here.
    """

    architecture: str
    renamed: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    harmless: frozenset[str] = frozenset()
    written: Mapping[str, Any] = field(default_factory=dict)


class FamilyConfig(Config):
    """The configuration of a model of any family; families add their shape."""

    hf: ClassVar[HuggingFace]
    causal: ClassVar[bool] = True
    """Whether no position that writes sees what comes after it, so that `is_causal` can but say so."""

    model_type: str = Field(description="the Hugging Face name it is saved under")
    hidden_size: int = Field(gt=0, description="width of the residual stream")
    num_hidden_layers: int = Field(gt=0, le=MAX_LAYERS, description="blocks")
    max_position_embeddings: int = Field(
        2048, gt=0, le=MAX_POSITIONS, description="longest sequence that it is meant for"
    )
    vocab_size: int = Field(gt=0, description="rows of the embedding")
    bos_token_id: TokenId | None = Field(None, description="begins a text")
    eos_token_id: TokenId | tuple[TokenId, ...] | None = Field(None, description="ends a text; several may")
    pad_token_id: TokenId | None = Field(None, description="fills batches")

    @model_validator(mode="after")
    def _addressable(self) -> Self:
        sizes = {name: getattr(self, name) for name in type(self).model_fields if name not in TOKENS}
        name, largest = max(((k, v) for k, v in sizes.items() if isinstance(v, int)), key=lambda pair: pair[1])
        if self.hidden_size * largest > MAX_NUMBERS:
            raise ValueError(
                f"hidden_size {self.hidden_size} and {name} {largest}: a matrix of more numbers than can be addressed"
            )
        for key in TOKENS:
            found = getattr(self, key)
            for token in found if isinstance(found, tuple) else (found,):
                if token is not None and token >= self.vocab_size:
                    raise ValueError(f"{key} {token} is beyond the {self.vocab_size} rows of the embedding")
        return self

    @property
    def parts(self) -> int:
        """Blocks and experts that have tensors of their own: a checkpoint of fewer tensors can't be this model's."""
        return self.num_hidden_layers

    @classmethod
    def from_hf(cls, found: Mapping[str, Any], where: str = "config.json") -> Self:
        """Read a Hugging Face config. Raises WeightsError for what isn't supported, naming the key."""
        hf = cls.hf
        given = {**hf.defaults, **found}
        for key, allowed in hf.only.items():
            if given.get(key) is not None and given[key] not in allowed:
                fix = f"Supported: {', '.join(map(repr, allowed))}." if allowed else "Models with it aren't supported."
                raise refuse(where, f"{key}={given[key]!r} isn't supported", fix)
        keys = {name: hf.renamed.get(name, name) for name in cls.model_fields}
        fields = {name: given[key] for name, key in keys.items() if given.get(key) is not None}
        derived = cls.fields_from(given, where)
        cls._check_nulls({name: key for name, key in keys.items() if name not in derived}, found, where)
        fields |= derived
        handled = {*keys.values(), *hf.only, *hf.written, *cls.handled(), *hf.harmless}
        if cls.causal:
            check_causal(found, where)
            handled.add("is_causal")
        check_unknown(found, handled, where)
        if isinstance(fields.get("eos_token_id"), list):
            fields["eos_token_id"] = tuple(fields["eos_token_id"])
        if fields.get("pad_token_id") == -1:
            del fields["pad_token_id"]  # as old conversions say that there is none
        try:
            return cls.model_validate(fields).settled()
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'config'}: {e['msg']}" for e in error.errors())
            raise refuse(where, problems, "Take the config.json that belongs to these weights.") from error

    def settled(self) -> Self:
        """With that said which a file may leave to follow from the rest, as `to_hf` writes it: what is read from there
        is then the same."""
        return self

    @classmethod
    def _check_nulls(cls, keys: Mapping[str, str], found: Mapping[str, Any], where: str) -> None:
        """Refuse a null where it isn't silence: to transformers it is no number and false, and to us a default."""
        for name in (name for name, key in keys.items() if key in found and found[key] is None):
            field = cls.model_fields[name]
            if not field.is_required() and field.default and not _optional(field):
                fix = f"Say what it is; without the key it is {field.default!r}."
                raise refuse(where, f"{keys[name]} is null", fix)

    def to_hf(self) -> dict[str, Any]:
        """The Hugging Face config that transformers reads."""
        hf = self.hf
        named = {hf.renamed.get(name, name): value for name, value in self.model_dump(mode="json").items()}
        written = {"architectures": [hf.architecture], **hf.written, **named, **self.keys_to()}
        # Silence about a token would mean another one to some readers, whose classes fill in their own.
        return {k: v for k, v in written.items() if k not in self.unwritten()}

    @classmethod
    def fields_from(cls, given: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Fields that are more than one key under another name: a family that has such says them here."""
        return {}

    @classmethod
    def handled(cls) -> set[str]:
        """The keys that `fields_from` reads."""
        return set()

    def keys_to(self) -> dict[str, Any]:
        """The keys that `fields_from` reads, written."""
        return {}

    @classmethod
    def unwritten(cls) -> set[str]:
        """Our fields that no key has the name of: `keys_to` says them otherwise."""
        return set()


def _optional(field: FieldInfo) -> bool:
    return type(None) in get_args(field.annotation)


def check_causal(found: Mapping[str, Any], where: str) -> None:
    """Refuse a decoder that is said to see what comes after a token, which transformers does where this is falsy."""
    if found.get("is_causal", True) is not True:
        raise refuse(
            where, f"is_causal={found['is_causal']!r} isn't supported", "Decoders here see what came before alone."
        )


def check_unknown(found: Mapping[str, Any], handled: Set[str], where: str) -> None:
    """Refuse keys that nobody has read, but for those that say nothing. False and emptiness are how files say that
    something isn't there; 0 may be a number like any other."""
    unknown = {
        key: value
        for key, value in found.items()
        if key not in handled | HARMLESS
        and not key.startswith("_")
        and not (value is None or value is False or value == [] or value == {})
        and not (key in NEUTRAL and value in NEUTRAL[key])
    }
    if unknown:
        raise refuse(
            where,
            f"unknown keys that may change the mathematics: {', '.join(f'{k}={v!r}' for k, v in unknown.items())}",
            "Remove them if they change nothing; otherwise this model isn't supported yet.",
        )


def check_addressable(rows: int, columns: int, what: str) -> None:
    """Raise ValueError, naming `what`, for a matrix that is larger than any file."""
    if rows * columns > MAX_NUMBERS:
        raise ValueError(f"{what}: a matrix of more numbers than can be addressed")


def refuse(where: str, problem: str, fix: str) -> WeightsError:
    """The error of a config that can't be taken as it is."""
    return WeightsError(f"{where}: {problem}", fix)
