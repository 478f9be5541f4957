"""From an artefact forward: what was made from it, and from that, as far as a folder's manifests say."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedplate.errors import ArtefactError
from bedplate.ledger.artefact import Artefact, open_artefact
from bedplate.ledger.manifest import MANIFEST

EARLIER = "earlier"
"""The measure that lists the digests of what an artefact was before something was taken out of it, newest first."""
_UNFINISHED = (".partial-", ".replaced-")


@dataclass(frozen=True)
class User:
    """An artefact that was made from another. steps: how many stages lie between, 1 for those made from it directly."""

    artefact: Artefact
    steps: int

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        a = self.artefact
        return {"kind": a.kind, "name": a.name, "path": str(a.path), "digest": a.digest, "steps": self.steps}


def used_by(artefact: Artefact, within: Path, *, also: Sequence[str] = ()) -> list[User]:
    """Every artefact below `within` that was made from this one, directly or through others: nearest first, then by
    path. Told by digests, so that a copy of the artefact counts as the artefact. What was replaced in its place by what
    is left of it counts too: who used that has used this. also: further digests of what it was before.

    Raises ArtefactError where `within` is no folder; what is damaged in it, or somebody else's, is passed over.
    """
    if not within.is_dir():
        raise ArtefactError(f"{within}: no such folder to look in", "Name the folder with the artefacts: --within runs")
    by_input: dict[str, list[Artefact]] = defaultdict(list)
    for found in _artefacts(within):
        for item in found.manifest.inputs:
            by_input[item.digest].append(found)
    users: list[User] = []
    seen = {artefact.path.resolve()}
    digests, steps = {artefact.digest, *replaced_digests(artefact), *also}, 0
    while digests:
        steps += 1
        nearest = {
            user.path.resolve(): user
            for digest in digests
            for user in by_input.get(digest, ())
            if user.path.resolve() not in seen
        }
        seen |= set(nearest)
        users += [User(user, steps) for _, user in sorted(nearest.items())]
        digests = {digest for user in nearest.values() for digest in (user.digest, *replaced_digests(user))}
    return users


def replaced_digests(artefact: Artefact) -> list[str]:
    """The digests of what stood in its place before, where it was made of that."""
    folder = artefact.path.resolve()
    own = [item.digest for item in artefact.manifest.inputs if (folder / item.path).resolve() == folder]
    return list(dict.fromkeys([*own, *earlier_digests(artefact)])) if own else []


def earlier_digests(artefact: Artefact) -> list[str]:
    """The digests of its earlier versions, in this place or another: what was trained on them saw what is gone."""
    found = artefact.measures.get(EARLIER)
    return [str(digest) for digest in found] if isinstance(found, list) else []


def usual_place(artefact: Artefact) -> Path:
    """Where what was made from it is looked for by itself: all recipes' runs if it is one of them, else beside it."""
    folder = artefact.path.resolve().parent
    return folder.parent if folder.parent.name == "runs" else folder


def _artefacts(within: Path) -> Iterator[Artefact]:
    for folder, folders, files in os.walk(within):
        folders[:] = sorted(name for name in folders if not any(sign in name for sign in _UNFINISHED))
        if MANIFEST in files:
            folders[:] = []
            try:
                yield open_artefact(Path(folder))
            except ArtefactError:  # of a newer version, or not one of ours: it can't be asked
                continue
