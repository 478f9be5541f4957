"""The names that things are served under. No torch here: a slip in the command is told at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bedplate.errors import InputError, UserError
from bedplate.ledger.manifest import MANIFEST, read_manifest

_NAME = re.compile(r"[\w.:/-]{1,128}", re.ASCII)


def folder_of(path: str | Path) -> Path:
    """The folder that is meant, where its manifest was named."""
    folder = Path(path)
    return folder.parent if folder.name == MANIFEST else folder


def named_paths(models: Sequence[str]) -> dict[str, Path]:
    """NAME=PATH or PATH, whose name is that of the artefact or folder. Raises InputError for what isn't there,
    UserError for a name that is used twice or that can't be one."""
    named: dict[str, Path] = {}
    for given in models:
        name, equals, rest = given.partition("=")
        if not equals or Path(given).exists():
            name, rest = "", given
        path = folder_of(rest)
        if not path.is_dir():
            from bedplate.families.model import nearest_sibling

            raise InputError(
                f"{path}: no such folder{nearest_sibling(path)}", "Give the folder of what is to be served."
            )
        name = name or _own_name(path)
        if not _NAME.fullmatch(name):
            raise UserError(
                f"{given}: {name!r} can't be a model's name", "Use letters, digits and . _ : / - in NAME=PATH."
            )
        if name in named:
            raise UserError(
                f"{given}: the name {name!r} is taken by {named[name]}", f"Give it another one: other-name={path}"
            )
        named[name] = path
    return named


def _own_name(path: Path) -> str:
    if (path / MANIFEST).is_file():
        return read_manifest(path).name
    return path.resolve().name
