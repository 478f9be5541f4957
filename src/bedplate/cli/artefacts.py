"""`show`: what an artefact is, where it came from, what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bedplate.cli.answer import answer
from bedplate.console import Console
from bedplate.errors import InputError, StorageError

if TYPE_CHECKING:
    from bedplate.ledger import Artefact
    from bedplate.report.corpus_notes import Notes


def show(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="The artefact's folder.", show_default=False)],
    verify: Annotated[bool, typer.Option("--verify", help="Read every file again and compare its hash.")] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open its page in the browser.")] = False,
    used_by: Annotated[
        bool, typer.Option("--used-by", help="List what was made from it instead, the nearest first.")
    ] = False,
    within: Annotated[
        Path | None,
        typer.Option(help="With --used-by: where to look; all runs, or the folder it lies in, if not given."),
    ] = None,
) -> None:
    """Show an artefact: what it is, its lineage back to the raw sources, its cost, its measures, its page.

    Examples: bedplate show runs/quickstart/model --open

    bedplate show runs/quickstart/release --verify

    bedplate show runs/quickstart/corpus --used-by
    """
    from bedplate.console.figures import visible
    from bedplate.ledger.artefact import open_artefact
    from bedplate.ledger.description import describe, facts

    console: Console = context.obj
    artefact = open_artefact(path)
    if used_by:
        _users(artefact, within, console)
        return
    if within is not None:
        raise InputError("--within belongs to --used-by", "Give both, or leave it out.")
    if verify:
        artefact.verify()
        if strangers := artefact.strangers():
            console.warn(f"{artefact.path}: not part of the artefact: {', '.join(strangers)}")
    if console.mode == "json":
        answer({**facts(artefact), "verified": verify or None}, console)
    else:
        typer.echo(visible(describe(artefact)))
        if verify:
            typer.echo(f"\nverified: all {len(artefact.manifest.outputs)} files are what they were when it was made")
    if console.mode != "json" or open_page:
        _page(artefact, console, open_page)


def _users(artefact: Artefact, within: Path | None, console: Console) -> None:
    from bedplate.console.figures import visible
    from bedplate.data.provenance.telling import users_told
    from bedplate.ledger.usage import earlier_digests, used_by, usual_place

    place = within or usual_place(artefact)
    # What was taken out of it since, its older users have learnt all the same.
    users = [user.facts() for user in used_by(artefact, place, also=earlier_digests(artefact))]
    if console.mode != "json":
        lines = users_told(users) or [f"  nothing in {place}"]
        typer.echo(visible("\n".join([f"made from {artefact.path}, directly (1) or through others", *lines])))
    answer({"path": str(artefact.path), "within": str(place), "used_by": users}, console)


def _page(artefact: Artefact, console: Console, open_page: bool) -> None:
    from bedplate.report.artefact_page import write_page

    try:
        page = write_page(artefact, _notes(artefact))
    except StorageError as error:  # somebody else's folder, or a full disk: what was shown is still true
        console.warn(f"its page can't be written: {error.problem}")
        return
    if console.mode != "json":
        typer.echo(f"\npage: {page}")
    if open_page:
        import webbrowser

        if not webbrowser.open(page.resolve().as_uri()):
            console.warn("there is no browser to open it in")


def _notes(artefact: Artefact) -> Notes | None:
    """What the page says of a corpus's columns."""
    if artefact.kind != "corpus":
        return None
    from bedplate.data.filters.notes import column_notes
    from bedplate.data.provenance.origin import curation_of

    return column_notes(curation_of(artefact))
