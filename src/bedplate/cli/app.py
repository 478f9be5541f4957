"""The verbs in the order of the manual, the flags that all of them share, and what `--help` says first."""

from __future__ import annotations

from typing import Annotated

import typer

from bedplate.cli import artefacts, data, labelling, machine, models, recipes, vocabulary
from bedplate.cli.verb_help import VerbCommand
from bedplate.console import Console
from bedplate.version import __version__

MANUAL = """
Builds foundation models: from raw documents to a released, documented, served model, and every way of adapting one.

A RECIPE is a YAML file of stages. Each stage makes an artefact: a folder with a manifest that says what it is, where it
came from and what it cost. What is made already is never made twice; what is interrupted goes on where it stopped.
"""

EXAMPLES = """
**Examples**

    # every stage, cached and resumable
    bedplate run recipes/quickstart.yaml

    # one stage and what it needs, with a field changed, in a folder of its own
    bedplate pretrain recipes/quickstart.yaml model.steps=1000 model.out=runs/longer

    # what an artefact is, where it came from, what it cost; its training curve
    bedplate show runs/quickstart/model --open

    # where a document is from and which training steps saw it, or why it was left out
    bedplate data why runs/quickstart/corpus https://example.org/page

    # let the model continue a text; talk to one that was taught to; serve it
    bedplate chat runs/quickstart/release --raw
    bedplate chat models/smollm2
    bedplate serve models/smollm2

    # which way of adapting a base to a task is worth it
    bedplate compare recipes/quickstart-adapt.yaml

--json and --quiet may stand anywhere in a command.

Exit codes: 0 done, 2 your mistake (the message says the fix), 1 ours, 130 and 143 stopped by a signal.
"""

RECIPES, MODELS, ARTEFACTS, MACHINE = "Recipes", "Models", "Artefacts", "This machine"

app = typer.Typer(
    name="bedplate",
    help=MANUAL,
    epilog=EXAMPLES,
    rich_markup_mode="markdown",
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bedplate {__version__}")
        raise typer.Exit


@app.callback()
def shared(
    context: typer.Context,
    json: Annotated[
        bool,
        typer.Option("--json", help="For machines: progress as JSON lines on stderr, the answer on stdout."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but warnings and errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    context.obj = Console("json" if json else "quiet" if quiet else "auto")


app.command("run", rich_help_panel=RECIPES)(recipes.run)
app.command("curate", cls=VerbCommand, rich_help_panel=RECIPES)(recipes.curate)
app.command("train-filter", cls=VerbCommand, rich_help_panel=RECIPES)(recipes.train_filter)
app.command("synthesize", cls=VerbCommand, rich_help_panel=RECIPES)(recipes.synthesize)
app.command("train-tokenizer", cls=VerbCommand, rich_help_panel=RECIPES)(recipes.train_tokenizer)
app.command("tokenize", cls=VerbCommand, rich_help_panel=RECIPES)(recipes.tokenize)
app.command("pretrain", cls=VerbCommand, rich_help_panel=RECIPES)(recipes.pretrain)
app.command("evaluate", cls=VerbCommand, rich_help_panel=RECIPES)(recipes.evaluate)
app.command("release", cls=VerbCommand, rich_help_panel=RECIPES)(recipes.release)
app.command("python-docs", cls=VerbCommand, rich_help_panel=RECIPES)(recipes.python_docs)
app.command("index", cls=VerbCommand, rich_help_panel=RECIPES)(recipes.index)
app.command("adapt", cls=VerbCommand, rich_help_panel=RECIPES)(recipes.adapt)
app.command("compare", cls=VerbCommand, rich_help_panel=RECIPES)(recipes.compare)
app.command("import", cls=VerbCommand, rich_help_panel=MODELS)(models.import_)
app.command("export", rich_help_panel=MODELS)(models.export)
app.command("merge", rich_help_panel=MODELS)(models.merge)
app.command("extend", cls=VerbCommand, rich_help_panel=MODELS)(vocabulary.extend)
app.command("fertility", rich_help_panel=MODELS)(vocabulary.fertility)
app.command("chat", rich_help_panel=MODELS)(models.chat)
app.command("serve", rich_help_panel=MODELS)(models.serve)
app.command("show", rich_help_panel=ARTEFACTS)(artefacts.show)
app.add_typer(data.app, name="data", rich_help_panel=ARTEFACTS)
app.command("label", rich_help_panel=ARTEFACTS)(labelling.label)
app.add_typer(labelling.app, name="labels", rich_help_panel=ARTEFACTS)
app.command("doctor", rich_help_panel=MACHINE)(machine.doctor)
