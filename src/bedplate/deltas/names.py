"""What a delta's places are called here and in Hugging Face's layout, by the family's weight table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from torch import nn

from bedplate.codecs.text import TextTokenizer
from bedplate.deltas.lora import A, B, linear_paths
from bedplate.families.family_config import FamilyConfig
from bedplate.families.registry import Family


class Adaptable(Protocol):
    """What a delta may be given to: `families.model.Model`, `families.encoder_model.EncoderModel`."""

    net: Any  # a Decoder or an Encoder, which a protocol's mutable attribute can't say of both

    @property
    def config(self) -> FamilyConfig: ...

    @property
    def family(self) -> Family[Any, Any]: ...

    @property
    def tokenizer(self) -> TextTokenizer | None: ...


def parameter_spellings(model: Adaptable) -> dict[str, tuple[str, ...]]:
    """The base's parameters by our names -> their spellings, the one that we write first."""
    net: nn.Module = model.net
    names = [name for name, _ in net.named_parameters() if name.rpartition(".")[2] not in (A, B)]
    return model.family.table(model.config).pairs(names, model.config.num_hidden_layers)


def path_spellings(model: Adaptable) -> dict[str, tuple[str, ...]]:
    """Our paths of the linear maps that may have a delta -> their paths in Hugging Face's layout, as in
    `parameter_spellings`."""
    spellings = parameter_spellings(model)
    return {path: _owners(spellings[f"{path}.weight"]) for path in linear_paths(model.net)}


def module_paths(model: Adaptable) -> dict[str, str]:
    """Our paths of those linear maps -> the path that we write: what `add_lora` takes as `paths`."""
    return {path: spelt[0] for path, spelt in path_spellings(model).items()}


def passed_over(model: Adaptable, path: str) -> bool:
    """Whether a module of this path (theirs) is one that the family knows and computes nothing with."""
    table = model.family.table(model.config)
    carried = {
        owner for line in table.carried for owner in _owners(name for spelling in line.spellings for name in spelling)
    }
    return path in carried or bool(table.left_out and path.startswith(table.left_out))


def inverted(spellings: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Every spelling -> our name."""
    return {theirs: ours for ours, spelt in spellings.items() for theirs in spelt}


def _owners(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.rpartition(".")[0] for name in names))
