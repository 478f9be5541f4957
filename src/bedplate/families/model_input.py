"""The model that a stage is given: an artefact as its input, or any folder or GGUF file as its option `source`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedplate.errors import InputError
from bedplate.families.imports import ImportConfig, Located, locate, read_source
from bedplate.families.imports import sources as import_sources
from bedplate.ledger.artefact import Artefact
from bedplate.ledger.stage import Inputs, SourceInput

if TYPE_CHECKING:
    from bedplate.families.encoder_model import EncoderModel
    from bedplate.families.model import Model
    from bedplate.families.seq2seq_model import Seq2SeqModel

ROLE = "model|run|release?"
"""What the input may be."""


def model_input(path: str | Path) -> tuple[dict[str, Any], str | None]:
    """A stage's inputs and its `source` for the model at `path`: the one where it is an artefact, else the other."""
    from bedplate.ledger.artefact import open_artefact
    from bedplate.ledger.manifest import MANIFEST

    if (Path(path) / MANIFEST).is_file():
        return {"model": open_artefact(path, ROLE.rstrip("?"))}, None
    return {}, str(path)


def source_files(source: str | None) -> list[SourceInput]:
    """The files of a model that isn't an artefact; nothing for one that is."""
    return [] if source is None else import_sources(ImportConfig(source=source))


def read_input(
    stage: str, source: str | None, inputs: Inputs
) -> tuple[Model | Seq2SeqModel | EncoderModel, dict[str, Any]]:
    """The model on the CPU, and its name, licence, notes and natural dtype. Raises InputError naming the stage where
    there is neither."""
    if source is not None:
        located = locate(ImportConfig(source=source))
        model, facts = read_source(located)
        return model, facts | {"name": located.path.stem}
    artefact = inputs.get("model")
    if not isinstance(artefact, Artefact):
        raise InputError(f"{stage}: no model", "Give the stage an input `model`, or an option `source`.")
    from bedplate.families.model import model_folder

    model, facts = read_source(Located(model_folder(artefact.path)))
    known = artefact.measures.get("license")
    return model, facts | {"name": artefact.name, "license": known if isinstance(known, str) else facts["license"]}
