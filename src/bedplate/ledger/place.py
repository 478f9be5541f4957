"""Where an artefact may stand: in a named folder, outside every other artefact, apart from what it is made from."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from bedplate.config import Config
from bedplate.errors import ArtefactError
from bedplate.ledger.artefact import Artefact
from bedplate.ledger.comparison import difference
from bedplate.ledger.manifest import MANIFEST, Input, read_manifest
from bedplate.ledger.stage import Stage


def check_place(out: Path) -> None:
    """Raise ArtefactError if no artefact can go there, whatever it is: no name, or the inside of another artefact."""
    if out.name in ("", ".."):
        raise ArtefactError(f"{out}: an artefact's folder needs a name of its own", f"For example: {out / 'name'}")
    for folder in real(out).parents:
        if os.path.isfile(folder / MANIFEST):
            raise ArtefactError(
                f"{out}: inside the artefact {folder}, which is complete and stays as it is",
                "Choose a folder outside of it.",
            )


def check_apart(out: Path, made_from: Iterable[Path]) -> None:
    """Raise ArtefactError if the artefact would take the place of something that it is made from."""
    target = real(out)
    for path in made_from:
        source = real(path)
        if target == source or target in source.parents:
            raise ArtefactError(
                f"{out}: would take the place of {path}, which it is made from", "Choose another folder."
            )


def standing(out: Path) -> Artefact | None:
    """The artefact at `out`, or None if the way is free. Raises ArtefactError if something else is there."""
    if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / MANIFEST).is_file():
        raise ArtefactError(
            f"{out}: exists and isn't an artefact of Bedplate's, so it won't be touched",
            "Choose another folder, or move it away.",
        )
    return Artefact(out, read_manifest(out), cached=True)


def check_settings(stage: Stage, config: Config, out: Path) -> None:
    """Raise ArtefactError if what stands at `out` can't be what this stage makes with these settings.

    Says so before anything runs. Inputs may differ too; that is known only when they are made.
    """
    there = standing(out)
    if there is not None and difference(there.manifest, stage, config, there.manifest.inputs):
        raise made_differently(there, stage, config, there.manifest.inputs)


def made_differently(there: Artefact, stage: Stage, config: Config, inputs: Iterable[Input]) -> ArtefactError:
    """The error that names every difference between what is there and what is asked for."""
    lines = difference(there.manifest, stage, config, tuple(inputs))
    lines = lines or ["the key differs although nothing that the manifest records does"]
    told = "".join(f"\n  {line}" for line in lines)
    return ArtefactError(
        f"{there.path}: already holds an artefact that was made differently:{told}",
        "Pass --replace to make it anew in its place (the old one is kept until the new one is complete), or choose "
        "another folder.",
    )


def real(path: Path) -> Path:
    """The path without links. Unlike Path.resolve it takes links that go in a circle as they are."""
    return Path(os.path.realpath(path))
