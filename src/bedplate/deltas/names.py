"""What a delta's places are called here and in Hugging Face's layout, by the family's weight table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from torch import nn

from bedplate.codecs.text import TextTokenizer
from bedplate.deltas.lora import A, B, linear_paths
from bedplate.errors import WeightsError
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


def laid_out_otherwise(model: Adaptable) -> dict[str, tuple[str, ...]]:
    """Our paths of the modules whose parameters a checkpoint holds otherwise than as they are (joined with others',
    turned round) -> the paths there. PEFT, which knows the checkpoint's modules alone, can't say a delta of those."""
    spellings = parameter_spellings(model)
    plain = model.family.table(model.config).plain(spellings, model.config.num_hidden_layers)
    others = {name: spelt for name, spelt in spellings.items() if name not in plain}
    return {name.rpartition(".")[0]: _owners(spelt) for name, spelt in others.items()}


def check_adaptable(model: Adaptable, paths: Iterable[str]) -> None:
    """Raises WeightsError for maps (our paths) of which no PEFT folder can say a delta, naming those that can have
    one: to be asked before a LoRA on them is trained."""
    otherwise = laid_out_otherwise(model)
    refused = {theirs: path for path in paths for theirs in otherwise.get(path, ())[:1]}
    if refused:
        free = {p.rpartition(".")[2]: None for ours, (p, *_) in path_spellings(model).items() if ours not in otherwise}
        raise WeightsError(
            f"{', '.join(list(refused)[:3])}: {model.config.model_type} stores these maps joined or turned round, and "
            "an adapter's folder can't say a delta of a part of one",
            f"Adapt only maps that stand alone: targets {', '.join(free)}."
            if free
            else "Fold the delta into its base (bedplate.deltas.merge.fold) and save the model.",
        )


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
