"""Where an adapter artefact's base lies, by its manifest."""

from __future__ import annotations

from pathlib import Path

from bedplate.deltas.digest import BaseRecord, weights_digest
from bedplate.errors import ArtefactError, UserError
from bedplate.ledger.artefact import open_artefact
from bedplate.ledger.manifest import MANIFEST

_MODELS = ("model", "run", "release")


def base_of(adapter: str | Path) -> Path:
    """The folder of the base that the adapter artefact at a path was trained on.

    Raises UserError where the adapter has no manifest, or one that names no model; ArtefactError where the base isn't
    where the manifest says, or is another by now.
    """
    adapter = Path(adapter)
    if not (adapter / MANIFEST).is_file():
        raise UserError(
            f"{adapter}: an adapter without a manifest, so nothing says where its base is",
            f"Name both: bedplate.load(BASE, adapter={str(adapter)!r}); at the command line --base BASE.",
        )
    inputs = [i for i in open_artefact(adapter).manifest.inputs if i.kind in _MODELS]
    if not inputs:
        raise UserError(f"{adapter}: its manifest names no model that it was trained on", "Name its base.")
    record = BaseRecord.read(adapter)
    there = [adapter / i.path for i in inputs if (adapter / i.path / MANIFEST).is_file()]
    for folder in there:
        if record is None or weights_digest(folder) == record.weights:
            return folder.resolve()
    named = " or ".join(f"{i.name} ({(adapter / i.path).resolve()})" for i in inputs)
    digest = "" if record is None else f" with weights of digest {record.weights}"
    raise ArtefactError(
        f"{adapter}: its base{digest} isn't where it was: {named}",
        f"Name the folder where it is now: bedplate.load(BASE, adapter={str(adapter)!r}); at the command line "
        "--base BASE.",
    )
