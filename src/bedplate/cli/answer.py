"""What a command answers on stdout when a machine asks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

from bedplate.console import Console
from bedplate.ledger.ranks import follower

if TYPE_CHECKING:
    from bedplate.ledger import Artefact


def answer(value: object, console: Console) -> None:
    """Print the answer as JSON if `--json` was given; people have been told already."""
    if console.mode == "json" and not follower():
        typer.echo(json.dumps(value, indent=1, ensure_ascii=False, default=str))


def artefact_facts(artefact: Artefact) -> dict[str, object]:
    """One artefact, in the few words that a script needs to go on with it."""
    return {
        "name": artefact.name,
        "kind": artefact.kind,
        "path": str(artefact.path),
        "cached": artefact.cached,
        "key": artefact.key,
        "digest": artefact.digest,
        "measures": artefact.measures,
    }


def answer_artefacts(artefacts: Mapping[str, Artefact], console: Console) -> None:
    """Answer with artefacts, by the name of their stage."""
    answer({name: artefact_facts(artefact) for name, artefact in artefacts.items()}, console)
