"""What was taken out of a corpus stays out of what is made of it: `taken-down.jsonl`, hashes without a word of text.

A corpus that something was taken out of has the file, and so has what is curated from it: `curate` leaves out documents
that it names, whatever their address, as `taken_down` by the stage `takedown`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedplate.data.rights.takedown import Takedown
from bedplate.ledger.atomic import atomic_write

if TYPE_CHECKING:
    from bedplate.data.documents import Document
    from bedplate.ledger import Artefact

TAKEN_DOWN = "taken-down.jsonl"
STAGE = "takedown"
REASON = "taken_down"
_KINDS = {"id": "id", "record_sha256": "sha256"}
"""Column -> what it is called in a list. A text's own hash isn't there: of a caption it would name all pictures that
have the same, and of a text that something was cut out of, every document that says no more than what was left."""
HASHES = tuple(_KINDS)


class TakenDown:
    """The step of a curation that leaves out what was taken out before. It comes when texts are as a corpus has them,
    after extraction and masking, since ids are of these."""

    name = STAGE
    columns: Mapping[str, str] = {}

    def __init__(self, lists: Sequence[str]) -> None:
        """lists: paths, as `lists_of` gives them. Raises InputError for a file that is damaged."""
        self._entries = Takedown.read(lists)

    def __call__(self, documents: list[Document]) -> None:
        """What is dropped keeps no word of its own: no title, and of its metadata what tells its picture."""
        for document in documents:
            if (found := self._entries.match(document)) is not None:
                document.title = None
                document.metadata = {name: value for name, value in document.metadata.items() if name == "picture"}
                document.drop(STAGE, REASON, f"taken out before, by {found}")


def lists_of(inputs: Mapping[str, Artefact | list[Artefact]]) -> tuple[str, ...]:
    """The lists of what was taken out of the corpora among a stage's inputs, and of those that they were made of."""
    given = [one for role in inputs.values() for one in (role if isinstance(role, list) else [role])]
    return tuple(str(path) for artefact in given if (path := artefact.path / TAKEN_DOWN).is_file())


def carry(lists: Iterable[str], out: Path) -> None:
    """Write the lists into the folder of a corpus as one, where there are any."""
    _write({line for path in lists for line in _lines(Path(path))}, out)


def write(
    gone: Iterable[Mapping[str, Any]], kept: Iterable[Mapping[str, Any]], before: Iterable[str], out: Path
) -> None:
    """Write the list of a corpus that something was taken out of.

    gone: rows that went, kept: those that stay, which the list must not name though they share a text or a record with
    others; both with the columns of `HASHES`. before: lists of what was taken out earlier. Memory: that of the entries.
    """
    entries = {_line(column, row[column]) for row in gone for column in _KINDS if row.get(column)}
    if entries:
        for row in kept:
            entries -= {_line(column, row[column]) for column in _KINDS if row.get(column)}
    entries |= {line for path in before for line in _lines(Path(path))}
    _write(entries, out)


def _line(column: str, value: str) -> str:
    return json.dumps({_KINDS[column]: value})


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line]


def _write(entries: set[str], out: Path) -> None:
    if entries:
        atomic_write(out / TAKEN_DOWN, "".join(f"{line}\n" for line in sorted(entries)))
