"""`run`, and the verbs that run one stage of a recipe."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from bedplate.cli.answer import answer, answer_artefacts, artefact_facts
from bedplate.console import Console
from bedplate.errors import RecipeError

RecipeArgument = Annotated[Path, typer.Argument(help="The recipe: a YAML file.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="stage.field=value", help="Fields changed for this run.", show_default=False),
]
StageAndOverrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="STAGE | stage.field=value",
        help="The stage, if the recipe has several of this verb; and fields changed for this run.",
        show_default=False,
    ),
]
Replace = Annotated[
    bool,
    typer.Option("--replace", help="Make anew what differs. The old one goes once the new one is complete."),
]


def run(context: typer.Context, recipe: RecipeArgument, overrides: Overrides = None, replace: Replace = False) -> None:
    """Run every stage of a recipe. What is made is reused; what was interrupted goes on.

    Examples: bedplate run recipes/quickstart.yaml

    bedplate run recipes/quickstart.yaml model.steps=1000 --replace
    """
    stray = [word for word in overrides or [] if "=" not in word]
    if stray:
        raise RecipeError(f"{stray[0]!r} isn't of the form stage.field=value", f"One stage: bedplate VERB {recipe}")
    _perform(context, recipe, overrides, replace, verb=None)


def curate(
    context: typer.Context, recipe: RecipeArgument, words: StageAndOverrides = None, replace: Replace = False
) -> None:
    """Make a corpus of raw documents: read, extracted, filtered, deduplicated, mixed, split; each one accounted for.

    Reads text, Markdown, HTML, EPUB, PDF, notebooks, code, JSON Lines, Parquet, crawls (WARC), git repositories and
    other corpora. Stages run where their section is in the recipe: rights and opt-outs, personal data, signals, trained
    filters, thresholds, evaluation items, copies and near copies, mixture. What is left out is kept on record with the
    reason: `bedplate data why CORPUS ID`.

    Examples: bedplate curate recipes/quickstart.yaml

    bedplate curate recipes/quickstart.yaml corpus.workers=2
    """
    _perform(context, recipe, words, replace, verb="curate")


def train_filter(
    context: typer.Context, recipe: RecipeArgument, words: StageAndOverrides = None, replace: Replace = False
) -> None:
    """Train a filter on your own labelled texts: a linear classifier, for a column that curation can go by.

    Labels come from a file, such as `bedplate labels export` writes, or from functions of your own. `curate` uses it
    by `classify: {quality: {filter: FOLDER}}` and `filters: {rules: [{column: quality, min: 0.5}]}`.

    Example: bedplate train-filter recipe.yaml quality
    """
    _perform(context, recipe, words, replace, verb="train-filter")


def synthesize(
    context: typer.Context, recipe: RecipeArgument, words: StageAndOverrides = None, replace: Replace = False
) -> None:
    """Have a model write a corpus out of another: rephrased, as questions with answers, as tasks; each row says so.

    The model is one that any OpenAI-compatible server has, or one of this machine. Answers are kept as they come, so an
    interrupted command asks for none twice.

    Example: bedplate synthesize recipe.yaml rephrased endpoint.concurrency=4
    """
    _perform(context, recipe, words, replace, verb="synthesize")


def train_tokenizer(
    context: typer.Context, recipe: RecipeArgument, words: StageAndOverrides = None, replace: Replace = False
) -> None:
    """Train a lossless byte-level tokenizer on a corpus.

    Example: bedplate train-tokenizer recipes/quickstart.yaml tokenizer.vocabulary=4096
    """
    _perform(context, recipe, words, replace, verb="train-tokenizer")


def tokenize(
    context: typer.Context, recipe: RecipeArgument, words: StageAndOverrides = None, replace: Replace = False
) -> None:
    """Turn a corpus into token shards and a table of documents.

    Example: bedplate tokenize recipes/quickstart.yaml
    """
    _perform(context, recipe, words, replace, verb="tokenize")


def pretrain(
    context: typer.Context, recipe: RecipeArgument, words: StageAndOverrides = None, replace: Replace = False
) -> None:
    """Train a model from nothing. Killed at any instant, the same command goes on, to the same numbers.

    Example: bedplate pretrain recipes/quickstart.yaml model.steps=400
    """
    _perform(context, recipe, words, replace, verb="pretrain")


def release(
    context: typer.Context, recipe: RecipeArgument, words: StageAndOverrides = None, replace: Replace = False
) -> None:
    """Make the folder that is given away: weights, tokenizer, a card filled from the ledger.

    Example: bedplate release recipes/quickstart.yaml
    """
    _perform(context, recipe, words, replace, verb="release")


def python_docs(
    context: typer.Context, recipe: RecipeArgument, words: StageAndOverrides = None, replace: Replace = False
) -> None:
    """Make documents, questions and a task out of this machine's own documentation: the standard library's docstrings.

    Example: bedplate python-docs recipes/quickstart-adapt.yaml
    """
    _perform(context, recipe, words, replace, verb="python-docs")


def adapt(
    context: typer.Context, recipe: RecipeArgument, words: StageAndOverrides = None, replace: Replace = False
) -> None:
    """Adapt a base to a task, in one of many ways: a prompt, examples, retrieval, a probe, LoRA, full fine-tuning.

    Example: bedplate adapt recipes/adapt-few-shot.yaml prompt.way.shots=8
    """
    _perform(context, recipe, words, replace, verb="adapt")


def compare(
    context: typer.Context, recipe: RecipeArgument, words: StageAndOverrides = None, replace: Replace = False
) -> None:
    """Compare several ways of adapting on one task and one budget: quality with intervals, and what each costs.

    Example: bedplate compare recipes/quickstart-adapt.yaml
    """
    _perform(context, recipe, words, replace, verb="compare")


def index(
    context: typer.Context,
    target: Annotated[
        Path,
        typer.Argument(
            metavar="RECIPE|DOCUMENTS",
            help="A recipe (.yaml), or a folder or file of text, Markdown or HTML.",
            show_default=False,
        ),
    ],
    words: StageAndOverrides = None,
    encoder: Annotated[Path | None, typer.Option(help="With DOCUMENTS: the encoder's folder.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="With DOCUMENTS: the folder to make; index/NAME if not given.")
    ] = None,
    replace: Replace = False,
) -> None:
    """Make a folder of documents searchable, by meaning and by words: an index that answers can cite.

    Examples: bedplate index manuals --encoder models/minilm --out runs/manuals

    bedplate index recipes/quickstart-adapt.yaml
    """
    if encoder is None:
        if target.suffix not in (".yaml", ".yml"):
            raise RecipeError(
                f"{target}: no recipe, and documents need an encoder to be indexed",
                f"Name one: bedplate index {target} --encoder models/minilm",
            )
        if out is not None:
            raise RecipeError("--out belongs to DOCUMENTS", "In a recipe: stage.out=FOLDER.")
        _perform(context, target, words, replace, verb="index")
        return
    if words:
        raise RecipeError(f"{words[0]!r} belongs to a recipe, and --encoder to documents", "Give one or the other.")
    from bedplate.adapt.retrieval.stage import index_documents

    console: Console = context.obj
    place = out or Path("index") / target.resolve().stem
    artefact = index_documents(target, encoder, place, console=console, replace=replace)
    console.say(f"{'found' if artefact.cached else 'made'} {artefact.path}")
    console.say(f"next: {shlex.join(['bedplate', 'chat', str(artefact.path), '--base', 'models/NAME'])}")
    answer(artefact_facts(artefact), console)


def evaluate(
    context: typer.Context,
    target: Annotated[
        Path, typer.Argument(metavar="RECIPE|MODEL", help="A recipe, or a model's folder.", show_default=False)
    ],
    words: StageAndOverrides = None,
    tasks: Annotated[
        str | None, typer.Option(help="With a MODEL: the tasks, with commas between: arc_easy,piqa,mmlu.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="With a MODEL: at most so many items of each task.")] = None,
    data: Annotated[Path | None, typer.Option(help="With a MODEL: the folder that holds the tasks' data.")] = None,
    text: Annotated[
        Path | None, typer.Option(help="With a MODEL: a text file, for the perplexity of its beginning.")
    ] = None,
    tokens: Annotated[int, typer.Option(min=2, help="With --text: how much of it.")] = 1024,
    corpus: Annotated[
        Path | None,
        typer.Option(help="With --tasks: the corpus that the model learnt from, if its lineage doesn't lead there."),
    ] = None,
    replace: Replace = False,
) -> None:
    """Measure a model: a recipe's evaluate stage, or named tasks or a text on any model.

    Examples: bedplate evaluate recipes/quickstart.yaml

    bedplate evaluate runs/quickstart/release --tasks arc_easy,piqa --limit 200 --data tasks-data

    bedplate evaluate runs/quickstart/release --text book.txt --tokens 4096
    """
    if tasks is None and text is None:
        if limit is not None or data is not None or corpus is not None:
            raise RecipeError(
                "--limit and --data belong to --tasks, and --corpus too",
                "For example: --tasks arc_easy,piqa --limit 200",
            )
        if target.is_dir():
            raise RecipeError(
                f"{target}: a folder, not a recipe", "To evaluate a model, say on what: --tasks a,b or --text FILE"
            )
        _perform(context, target, words, replace, verb="evaluate")
        return
    from bedplate.evaluate.short import evaluate_model, evaluate_text

    console: Console = context.obj
    if stray := [*(words or []), *(["--replace"] if replace else [])]:
        raise RecipeError(
            f"{stray[0]!r} belongs to a recipe, and --tasks and --text to a model", "Give one or the other."
        )
    if tasks is None and text is not None:
        if limit is not None or data is not None or corpus is not None:
            raise RecipeError(
                "--limit and --data belong to --tasks, and --corpus too; not to --text", "Leave them out."
            )
        answer(evaluate_text(target, text, tokens, console), console)
        return
    if text is not None:
        raise RecipeError("--tasks and --text together", "Give them one after the other.")
    names = [name.strip() for name in (tasks or "").split(",") if name.strip()]
    answer(evaluate_model(target, names, limit, data, console, corpus), console)


def _perform(context: typer.Context, recipe: Path, words: list[str] | None, replace: bool, *, verb: str | None) -> None:
    from bedplate.pipeline.runner import run as run_recipe

    console: Console = context.obj
    stages = [word for word in words or [] if "=" not in word]
    if len(stages) > 1:
        raise RecipeError(f"one stage at a time; got {', '.join(stages)}", f"For several: bedplate run {recipe}")
    overrides = [word for word in words or [] if "=" in word]
    stage = stages[0] if stages else None
    made = run_recipe(recipe, overrides, stage=stage, verb=verb, console=console, replace=replace)
    answer_artefacts(made, console)
