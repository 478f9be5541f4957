"""What a model's parameters are called here and in Hugging Face's layout, by the family's weight table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from torch import nn

from bedplate.codecs.text import TextTokenizer
from bedplate.deltas.lora import A, B
from bedplate.families.family_config import FamilyConfig
from bedplate.families.registry import Family
from bedplate.families.weights import Line


class Adaptable(Protocol):
    """What a delta may be given to: `families.model.Model`, `.encoder_model.EncoderModel`,
    `.seq2seq_model.Seq2SeqModel`."""

    net: Any  # a Decoder, an Encoder or an EncoderDecoder, which a protocol's mutable attribute can't say of all

    @property
    def config(self) -> FamilyConfig: ...

    @property
    def family(self) -> Family[Any, Any]: ...

    @property
    def tokenizer(self) -> TextTokenizer | None: ...


def parameter_names(model: Adaptable) -> list[str]:
    """The base's parameters by our names."""
    net: nn.Module = model.net
    return [name for name, _ in net.named_parameters() if name.rpartition(".")[2] not in (A, B)]


def parameter_spellings(model: Adaptable) -> dict[str, tuple[str, ...]]:
    """The base's parameters by our names -> their spellings, the one that we write first."""
    return model.family.table(model.config).pairs(parameter_names(model), model.config.num_hidden_layers)


def parameter_lines(model: Adaptable) -> list[Line]:
    """What the base's parameters are in a checkpoint, line by line."""
    return model.family.table(model.config).lines(parameter_names(model), model.config.num_hidden_layers)


def unused_modules(model: Adaptable) -> set[str]:
    """Paths (theirs) of modules that the family knows and computes nothing with."""
    names = (n for line in model.family.table(model.config).carried for spelling in line.spellings for n in spelling)
    return {owner(name) for name in names}


def passed_over(model: Adaptable, path: str) -> bool:
    """Whether a module of this path (theirs) is one that the family knows and computes nothing with."""
    left_out = model.family.table(model.config).left_out
    return path in unused_modules(model) or bool(left_out and path.startswith(left_out))


def owner(name: str) -> str:
    """The path of the module that a parameter of this name belongs to."""
    return name.rpartition(".")[0]


def inverted(spellings: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Every spelling -> our name."""
    return {theirs: ours for ours, spelt in spellings.items() for theirs in spelt}
