"""`Stage`: the declaration of a verb. What it takes, what it makes, and the name of the function that does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from bedplate.config import Config
from bedplate.errors import InternalError
from bedplate.ledger.artefact import Artefact

Inputs = Mapping[str, Artefact | list[Artefact]]


@dataclass(frozen=True)
class SourceInput:
    """A raw input that is no artefact: a file or folder of somebody else's."""

    path: Path
    digest: str
    """SHA-256 over what was read; decides, with the configuration, whether the stage has to run again."""
    bytes: int
    count: int = 1
    """Files, documents or rows."""


@dataclass(frozen=True)
class Stage:
    """A verb. Declared as a constant beside its config, without heavy imports; `run` is found when it is needed."""

    name: str
    """The verb: "curate"."""
    version: int
    """Raised by hand when the meaning changes, which makes everything made before it out of date."""
    kind: str
    """The kind of artefact that it makes; all that it may make, "prompt|probe", where `kind_of` decides."""
    config: type[Config]
    inputs: Mapping[str, str]
    """Role -> kind. A kind may end in "?" (optional) or "*" (a list), and name alternatives: "model|release|run"."""
    run: str
    """"module:function"; called as function(config, inputs, work) and writes into `work.path`."""
    sources: str | None = None
    """"module:function"; called as function(config) and returns the raw inputs as a list of SourceInput."""

    check: str | None = None
    """"module:function"; called as function(config, made_from) before anything of a recipe runs, with the configuration
    behind each input that isn't a list, as a dictionary. Raises RecipeError for what can't go together."""

    resumes: bool = True
    """Whether an attempt goes on with what an interrupted one left. If not, nothing half-made is left behind."""

    kind_of: str | None = None
    """"module:function"; called as function(config) and returns which of the kinds this configuration makes."""

    every_rank: bool = False
    """Under torchrun: whether all processes run it together. Otherwise rank 0 does, and the others wait for it."""

    def made_kind(self, config: Config) -> str:
        """The kind of artefact that a configuration makes."""
        return self.kind if self.kind_of is None else str(resolve(self.kind_of)(config))

    def roles(self) -> dict[str, Role]:
        """The declared inputs, parsed."""
        return {name: Role.parse(name, declared) for name, declared in self.inputs.items()}


@dataclass(frozen=True)
class Role:
    """One declared input: its name, the kinds it accepts, whether it may be absent, whether it is a list."""

    name: str
    kinds: tuple[str, ...]
    optional: bool
    many: bool

    @classmethod
    def parse(cls, name: str, declared: str) -> Role:
        """Read "corpus", "model|release?" or "corpus*"."""
        return cls(name, tuple(declared.rstrip("?*").split("|")), "?" in declared, "*" in declared)

    def accepts(self, kind: str) -> bool:
        """Whether an artefact of this kind may take the role."""
        return kind in self.kinds

    def __str__(self) -> str:
        return " or ".join(self.kinds)


def resolve(reference: str) -> Any:
    """The object that "package.module:name" names. Raises InternalError if there is none."""
    module, _, name = reference.partition(":")
    try:
        return getattr(import_module(module), name)
    except AttributeError as error:
        raise InternalError(f"{reference}: {module} has no {name!r}") from error


def flatten(inputs: Inputs) -> list[tuple[str, Artefact]]:
    """Every input with its role, lists unrolled, in a fixed order."""
    pairs: list[tuple[str, Artefact]] = []
    for role in sorted(inputs):
        value = inputs[role]
        many: Sequence[Artefact] = value if isinstance(value, list) else [value]
        pairs += [(role, artefact) for artefact in many]
    return pairs
