"""What an opened artefact rests on: the inputs that its manifest names, found again and proven to be the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bedplate.errors import ArtefactError
from bedplate.ledger.artefact import Artefact, open_artefact

if TYPE_CHECKING:
    from bedplate.adapt.face import Base


def input_folder(artefact: Artefact, role: str, given: Path | None = None) -> Path:
    """The folder of the input `role` that the artefact was made from.

    given: where it is now, for one that was moved. Raises ArtefactError where the manifest names no such input, or
    what stands at the path isn't an artefact with the recorded digest.
    """
    recorded = next((i for i in artefact.manifest.inputs if i.role == role), None)
    if recorded is None:
        raise ArtefactError(f"{artefact.path}: was made without an input {role!r}", "Make it again, and give one.")
    path = given if given is not None else artefact.path.resolve() / recorded.path
    how = f"Say where the {recorded.kind} {recorded.name!r} is now: --base FOLDER (in Python: base=FOLDER)."
    try:
        found = open_artefact(path)
    except ArtefactError as error:
        raise ArtefactError(
            f"{artefact.path}: its {role} was {recorded.path}, and there {error.problem.rpartition(': ')[2]}"
            if given is None
            else f"{artefact.path}: its {role} isn't at {given}: {error.problem.rpartition(': ')[2]}",
            how,
        ) from error
    if found.digest != recorded.digest:
        raise ArtefactError(
            f"{artefact.path}: was made on the {recorded.kind} {recorded.name!r} (digest {recorded.digest[:12]}), and "
            f"{path} is another (digest {found.digest[:12]})",
            how,
        )
    return found.path


def input_base(artefact: Artefact, given: Path | None = None) -> Base:
    """What the artefact's prompts are put to: the endpoint that its configuration names, else its input `base`.

    Raises ArtefactError as `input_folder` does.
    """
    endpoint = artefact.config.get("endpoint")
    if endpoint is not None and given is None:
        from bedplate.adapt.endpoint import EndpointBase
        from bedplate.adapt.ways import EndpointConfig

        return EndpointBase(EndpointConfig.model_validate(endpoint))
    from bedplate.adapt.bases import LocalBase

    folder = given if endpoint is not None and given is not None else input_folder(artefact, "base", given)
    return LocalBase(folder)
