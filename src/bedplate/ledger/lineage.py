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
    return Ancestor(
        role="",
        kind=artefact.kind,
        name=artefact.name,
        digest=artefact.digest,
        path=artefact.path,
        state="present",
        remark="",
        artefact=artefact,
        parents=_parents(artefact, 0),
    )


def raw_sources(artefact: Artefact) -> list[Ancestor]:
    """The raw sources that the artefact goes back to, each once."""
    found = {(a.digest, str(a.path)): a for a in lineage(artefact).walk() if a.kind == "raw"}
    return list(found.values())


def _parents(artefact: Artefact, depth: int) -> tuple[Ancestor, ...]:
    if depth >= MAX_DEPTH:  # manifests are files that anybody can write, also in a circle
        return ()
    return tuple(
        _raw(artefact, item) if item.kind == "raw" else _made(artefact, item, depth)
        for item in artefact.manifest.inputs
    )


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


def _made(child: Artefact, item: Input, depth: int) -> Ancestor:
    path = _located(child, item.path)
    state: State = "present"
    remark = ""
    there: Artefact | None = None
    try:
        there = open_artefact(path)
    except ArtefactError as error:
        state, remark = "missing", error.problem.rpartition(": ")[2]
    if there is not None and there.digest != item.digest:
        state, remark = "changed", f"another artefact is there now (digest {there.digest[:12]})"
        there = None
    return Ancestor(
        role=item.role,
        kind=item.kind,
        name=item.name,
        digest=item.digest,
        path=path,
        state=state,
        remark=remark,
        artefact=there,
        parents=() if there is None else _parents(there, depth + 1),
    )


def _located(child: Artefact, relative: str) -> Path:
    """The path of an input as seen from the working directory, or from the root if it isn't below that."""
    resolved = (child.path.resolve() / relative).resolve()
    try:
        return resolved.relative_to(Path.cwd())
    except ValueError:
        return resolved
