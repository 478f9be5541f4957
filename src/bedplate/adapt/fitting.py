"""`Fitting`: what a way is given to fit itself to a task, whatever way it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bedplate.adapt.ways import BudgetConfig
from bedplate.errors import RecipeError
from bedplate.ledger.work import Work
from bedplate.tasks.examples import Task

if TYPE_CHECKING:
    from bedplate.adapt.face import Base
    from bedplate.families.encoder_model import EncoderModel
    from bedplate.generate.model import TextModel
    from bedplate.ledger import Artefact


@dataclass
class Fitting:
    """One way, one task, one seed. Models are loaded when they are first asked for.

    task: train and validation already cut to the budget; a way never looks at `task.test`. artefacts: role -> input
    ("base", "encoder", "index"). A way writes into `work.path`, counts operations with `work.add_flops`, and puts
    what it chose and how it scored on validation into `work.measures`.
    """

    task: Task
    budget: BudgetConfig
    seed: int
    work: Work
    artefacts: dict[str, Artefact] = field(default_factory=dict)
    make_base: Callable[[], Base] | None = None
    """The base as something that answers: a local model or an endpoint."""

    @cached_property
    def base(self) -> Base:
        """Raises RecipeError where there is neither a `base` input nor an endpoint."""
        if self.make_base is None:
            raise RecipeError("this way needs a base", "Give inputs: {base: ...}, or an endpoint.")
        return self.make_base()

    @cached_property
    def encoder(self) -> EncoderModel:
        """Raises RecipeError where there is no `encoder` input."""
        from bedplate.families.encoder_model import EncoderModel

        return EncoderModel.load(self.folder("encoder"))

    def text_model(self, *, dtype: str | None = None) -> TextModel:
        """A fresh copy of the base's model, for training. Raises RecipeError where the base isn't a local model."""
        from bedplate.generate.model import load_text

        return load_text(self.folder("base"), dtype=dtype)

    def folder(self, role: str) -> Path:
        """The folder of an input. Raises RecipeError, naming the role, where it isn't given."""
        if role not in self.artefacts:
            raise RecipeError(f"this way needs the input {role!r}", f"Give inputs: {{{role}: ...}}.")
        return self.artefacts[role].path
