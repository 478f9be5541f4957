"""From an artefact back to the raw sources: what it was made from, what those were made from, and so on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bedplate.console.figures import bytes_text
from bedplate.errors import ArtefactError
from bedplate.ledger.artefact import Artefact, open_artefact
from bedplate.ledger.manifest import Input

State = Literal["present", "changed", "missing", "raw", "raw, missing"]

MAX_DEPTH = 100
MOST_ANCESTORS = 10_000
"""Manifests are files that anybody can write: of a few, each naming the next one twice, a tree without end grows."""


@dataclass(frozen=True)
class Ancestor:
    """One thing in a lineage. What follows comes from the manifest of whatever was made from it."""

    role: str
    kind: str
    name: str
    digest: str
    path: Path
    state: State
    """present; changed (there is another artefact at the path now); missing; raw sources: there, or not any more."""
    remark: str
    """What more there is to say: how large a raw source is, what stands there now instead."""
    artefact: Artefact | None
    """The artefact itself, if it is present."""
    parents: tuple[Ancestor, ...]

    def walk(self) -> Iterator[Ancestor]:
        """This and everything before it."""
        yield self
        for parent in self.parents:
            yield from parent.walk()


def lineage(artefact: Artefact) -> Ancestor:
    """The artefact with its ancestors. What was moved or removed is marked so; the rest is still found."""
    parents, remark = _Search().parents(artefact, ())
    return Ancestor(
        role="",
        kind=artefact.kind,
        name=artefact.name,
        digest=artefact.digest,
        path=artefact.path,
        state="present",
        remark=remark,
        artefact=artefact,
        parents=parents,
    )


def raw_sources(artefact: Artefact) -> list[Ancestor]:
    """The raw sources that the artefact goes back to, each once."""
    found = {(a.digest, str(a.path)): a for a in lineage(artefact).walk() if a.kind == "raw"}
    return list(found.values())


class _Search:
    """One walk back: how many ancestors it may still find, and the artefacts that it has opened."""

    def __init__(self) -> None:
        self._left = MOST_ANCESTORS
        self._opened: dict[Path, Artefact | ArtefactError] = {}

    def parents(self, artefact: Artefact, below: tuple[Path, ...]) -> tuple[tuple[Ancestor, ...], str]:
        """The artefact's inputs with theirs, and what is to be said if they aren't all of them. below: the folders on
        the way here; no artefact comes from itself, so a manifest that says so is believed no further."""
        folder = artefact.path.resolve()
        if folder in below:
            return (), "its manifests go in a circle here"
        if len(below) == MAX_DEPTH:
            return (), f"{MAX_DEPTH} steps back; what was before isn't shown"
        below = (*below, folder)
        found: list[Ancestor] = []
        for item in artefact.manifest.inputs:
            if self._left == 0:
                return tuple(found), f"has more than {MOST_ANCESTORS:,} ancestors; the rest isn't shown"
            self._left -= 1
            found.append(_raw(artefact, item) if item.kind == "raw" else self._made(artefact, item, below))
        return tuple(found), ""

    def _made(self, child: Artefact, item: Input, below: tuple[Path, ...]) -> Ancestor:
        path = _located(child, item.path)
        there = self._open(path)
        state: State = "present"
        remark = ""
        parents: tuple[Ancestor, ...] = ()
        if isinstance(there, ArtefactError):
            state, remark = "missing", there.problem.rpartition(": ")[2]
        elif there.digest != item.digest:
            state, remark = "changed", f"another artefact is there now (digest {there.digest[:12]})"
        else:
            parents, remark = self.parents(there, below)
        return Ancestor(
            role=item.role,
            kind=item.kind,
            name=item.name,
            digest=item.digest,
            path=path,
            state=state,
            remark=remark,
            artefact=there if isinstance(there, Artefact) and state == "present" else None,
            parents=parents,
        )

    def _open(self, path: Path) -> Artefact | ArtefactError:
        if path not in self._opened:
            try:
                self._opened[path] = open_artefact(path)
            except ArtefactError as error:
                self._opened[path] = error
        return self._opened[path]


def _raw(child: Artefact, item: Input) -> Ancestor:
    path = _located(child, item.path)
    parts = [] if item.count is None else [f"{item.count:,} document{'' if item.count == 1 else 's'}"]
    if item.bytes is not None:
        parts.append(bytes_text(item.bytes))
    return Ancestor(
        role=item.role,
        kind="raw",
        name=item.name,
        digest=item.digest,
        path=path,
        state="raw" if path.exists() else "raw, missing",
        remark=", ".join(parts),
        artefact=None,
        parents=(),
    )


def _located(child: Artefact, relative: str) -> Path:
    """The path of an input as seen from the working directory, or from the root if it isn't below that."""
    resolved = (child.path.resolve() / relative).resolve()
    try:
        return resolved.relative_to(Path.cwd())
    except ValueError:
        return resolved
