"""`label`: a page on which documents are labelled; `labels agreement|export|import`: what was said there."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from bedplate.cli.answer import answer
from bedplate.console import Console
from bedplate.errors import UserError

MANUAL = """
Work with what annotators said of documents: how far they agree, and its way into files and other programs and back.
"""

Labels = Annotated[Path, typer.Argument(help="The labels file, as `bedplate label` writes it.", show_default=False)]

app = typer.Typer(help=MANUAL, no_args_is_help=True, rich_markup_mode="markdown")


def label(
    context: typer.Context,
    corpus: Annotated[Path, typer.Argument(help="The corpus's folder.", show_default=False)],
    choices: Annotated[
        str, typer.Option(metavar="A,B", help="The labels, two to nine, with commas between.", show_default=False)
    ],
    annotator: Annotated[
        str, typer.Option(metavar="NAME", help="A pseudonym; it goes into every label.", show_default=False)
    ],
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The file to add to; CORPUS-labels.jsonl if not given.")
    ] = None,
    guideline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A text to go by; the page shows it, labels keep its version.")
    ] = None,
    order: Annotated[
        Literal["random", "corpus", "uncertain"] | None,
        typer.Option(help="Which come first; with --column those that it is least sure of, else random ones."),
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="For order uncertain: the column with a filter's probability.")
    ] = None,
    which: Annotated[
        Literal["all", "kept", "dropped"], typer.Option(help="Of dropped ones the corpus has the beginning alone.")
    ] = "all",
    most: Annotated[int | None, typer.Option(min=1, help="No more documents than this.")] = None,
    seed: Annotated[int, typer.Option(help="Of the random order; the same for all who label the same.")] = 0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
) -> None:
    """Label a corpus's documents on a page of this machine, from the keyboard; train-filter learns from the labels.

    Examples: bedplate label runs/mine/corpus --choices good,bad --annotator ada

    bedplate label runs/mine/corpus --choices good,bad --annotator ada --column quality --most 200
    """
    from bedplate.serve.labelling.server import label as serve_page

    code = serve_page(
        corpus,
        labels or _beside(corpus),
        [choice.strip() for choice in choices.split(",")],
        annotator,
        guideline,
        order or ("random" if column is None else "uncertain"),
        column=column,
        which=which,
        seed=seed,
        most=most,
        port=port,
        console=context.obj,
    )
    raise typer.Exit(code)


@app.command("agreement")
def agreement(context: typer.Context, labels: Labels) -> None:
    """Tell how far annotators agree beyond chance, by Krippendorff's alpha and Cohen's kappa, and what they dispute.

    The tables are Markdown, on stdout.

    Example: bedplate labels agreement runs/mine/corpus-labels.jsonl
    """
    from bedplate.console.figures import visible
    from bedplate.data.labels.report import agreement_of, agreement_table

    console: Console = context.obj
    found = agreement_of(labels)
    if console.mode != "json":
        typer.echo(visible(agreement_table(found)), nl=False)
    answer(asdict(found), console)


@app.command("export")
def export(
    context: typer.Context,
    labels: Labels,
    corpus: Annotated[Path, typer.Argument(help="The corpus that was labelled.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="The file to write.", show_default=False)],
    format: Annotated[
        Literal["examples", "label-studio"],
        typer.Option("--format", help="JSON Lines to train a filter on, or Label Studio's JSON with its interface."),
    ] = "examples",
    keep: Annotated[
        Literal["majority", "all"] | None,
        typer.Option(help="With examples: a line for each document, which ties leave out, or for each label."),
    ] = None,
) -> None:
    """Write the labels with the texts: as examples for train-filter, or as a Label Studio project.

    Examples: bedplate labels export runs/mine/corpus-labels.jsonl runs/mine/corpus examples.jsonl

    bedplate labels export runs/mine/corpus-labels.jsonl runs/mine/corpus tasks.json --format label-studio
    """
    from bedplate.data.labels.export import export_examples, export_label_studio

    console: Console = context.obj
    if format == "label-studio" and keep is not None:
        raise UserError("--keep belongs to examples: Label Studio gets every label", "Leave it out.")
    if format == "examples":
        done = export_examples(corpus, labels, out, keep=keep or "majority")
    else:
        done = export_label_studio(corpus, labels, out)
    for line in done.told():
        console.warn(f"left out: {line}")
    files = [str(out), *([f"{out}.xml"] if format == "label-studio" else [])]
    console.say(f"wrote {' and '.join(files)}: {done.written:,} {'examples' if format == 'examples' else 'tasks'}")
    answer({"files": files} | asdict(done), console)


@app.command("import")
def import_(
    context: typer.Context,
    export: Annotated[Path, typer.Argument(help="A JSON export of Label Studio.", show_default=False)],
    labels: Labels,
) -> None:
    """Add the labels of a Label Studio export that the file doesn't have yet; annotators stay pseudonyms.

    Example: bedplate labels import project-1.json runs/mine/corpus-labels.jsonl
    """
    from bedplate.data.labels.export import import_label_studio

    console: Console = context.obj
    count = import_label_studio(export, labels)
    console.say(f"{count:,} new labels in {labels}")
    answer({"labels": str(labels), "new": count}, console)


def _beside(corpus: Path) -> Path:
    """Where a corpus's labels lie by themselves: beside it, since what is in an artefact stays as it is."""
    folder = corpus if corpus.name else corpus.resolve()
    return folder.with_name(f"{folder.name}-labels.jsonl")
