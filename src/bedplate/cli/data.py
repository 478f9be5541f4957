"""`data why|remove|diff|preview|mix`: questions to a corpus, and work on one."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bedplate.cli.answer import answer
from bedplate.console import Console
from bedplate.errors import InputError

if TYPE_CHECKING:
    from bedplate.data.filters.config import FiltersConfig
    from bedplate.ledger import Artefact

MANUAL = """
Ask a corpus where a document is from and why it was left out; compare versions; try thresholds and mixtures; take
documents out again.
"""

Corpus = Annotated[Path, typer.Argument(help="The corpus's folder.", show_default=False)]
Within = Annotated[
    Path | None,
    typer.Option(help="Where to look for what was made from it; all runs, or the folder it lies in, if not given."),
]

app = typer.Typer(help=MANUAL, no_args_is_help=True, rich_markup_mode="markdown")


@app.command("why")
def why(
    context: typer.Context,
    corpus: Corpus,
    document: Annotated[
        str,
        typer.Argument(
            metavar="ID_OR_URL",
            help="A document's id or its first 8 digits, its URL, or its source name: crawl.warc.gz#17.",
            show_default=False,
        ),
    ],
    within: Within = None,
) -> None:
    """Tell a document's story: where it is from, what each stage said, where it ended, which runs saw it and when.

    Examples: bedplate data why runs/mine/corpus https://example.org/page

    bedplate data why runs/mine/corpus 45f037e4 --json
    """
    from bedplate.console.figures import visible
    from bedplate.data.provenance.finding import MOST, find_documents
    from bedplate.data.provenance.forwards import forwards
    from bedplate.data.provenance.story import story
    from bedplate.data.provenance.telling import listed, told
    from bedplate.ledger import open_artefact
    from bedplate.ledger.usage import usual_place

    console: Console = context.obj
    opened = open_artefact(corpus, "corpus")
    found = find_documents(opened, document)
    ahead = forwards(opened, within or usual_place(opened))
    stories = [story(opened, one, ahead) for one in found]
    if console.mode != "json":
        if len(stories) > 1:
            typer.echo(visible(listed(stories)) + (f"\n  (the first {MOST})" if len(stories) == MOST else "") + "\n")
        typer.echo(visible("\n\n".join(map(told, stories))))
    answer({"corpus": str(corpus), "documents": stories}, console)


@app.command("remove")
def remove(
    context: typer.Context,
    corpus: Corpus,
    match: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=VALUE",
            help="What goes: url=..., also url=https://a.org/x/* for all below; domain=..., sha256=..., id=..., "
            "owner=...; repeatable.",
        ),
    ] = None,
    list_: Annotated[
        list[Path] | None,
        typer.Option(
            "--list", metavar="FILE", help="A file of such entries: a line each, CSV or JSON Lines; repeatable."
        ),
    ] = None,
    why: Annotated[
        str | None, typer.Option(help="The reason, which each document's row keeps; has to be given.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The folder of the new corpus.")] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Put it in the old one's place, whose texts are gone then; tokens too.")
    ] = False,
    within: Within = None,
) -> None:
    """Take documents out of a corpus and of the token shards made from it, and list the models that have learnt them.

    The new corpus says in its lineage what was taken out and why; nothing is tokenized anew.

    Examples: bedplate data remove runs/mine/corpus --match domain=example.org --why "owner's request" --in-place

    bedplate data remove runs/mine/corpus --list takedown.csv --why "May's list" --out runs/mine/corpus-2
    """
    from bedplate.console.figures import visible
    from bedplate.data.provenance.removing import remove_documents
    from bedplate.data.provenance.tables import removal_told

    console: Console = context.obj
    done = remove_documents(
        corpus,
        matches=match or [],
        lists=list_ or [],
        why=why or "",
        out=out,
        in_place=in_place,
        within=within,
        asked=datetime.now(UTC).date().isoformat(),
        console=console,
    )
    facts = done.facts()
    if console.mode != "json":
        typer.echo(visible(removal_told(facts)))
    answer(facts, console)


@app.command("diff")
def diff(
    context: typer.Context,
    a: Annotated[Path, typer.Argument(help="The older corpus.", show_default=False)],
    b: Annotated[Path, typer.Argument(help="The newer corpus.", show_default=False)],
    tokens: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A_TOKENS B_TOKENS", help="Tokens of the two; looked for beside them if not given."),
    ] = None,
) -> None:
    """Compare two versions of a corpus: documents, bytes and tokens added, removed and changed, by source and reason.

    Example: bedplate data diff runs/mine/corpus runs/mine/corpus-2
    """
    from bedplate.console.figures import visible
    from bedplate.data.provenance.difference import difference, tokens_of
    from bedplate.data.provenance.tables import difference_told
    from bedplate.ledger import open_artefact
    from bedplate.ledger.usage import usual_place

    console: Console = context.obj
    one, other = open_artefact(a, "corpus"), open_artefact(b, "corpus")
    made: tuple[Artefact, Artefact] | None
    if tokens is not None:
        made = (open_artefact(tokens[0], "tokens"), open_artefact(tokens[1], "tokens"))
    else:
        first, second = tokens_of(one, usual_place(one)), tokens_of(other, usual_place(other))
        made = (first, second) if first is not None and second is not None else None
    facts = difference(one, other, made).facts()
    if made is not None:
        facts["tokens_from"] = [str(artefact.path) for artefact in made]
    if console.mode != "json":
        typer.echo(visible(difference_told(facts)))
    answer({"a": str(a), "b": str(b), **facts}, console)


@app.command("preview")
def preview(
    context: typer.Context,
    corpus: Corpus,
    stage: Annotated[
        str | None, typer.Argument(help="With --recipe: the stage, if it has several curations.", show_default=False)
    ] = None,
    rules: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN>=X", help="A threshold to try, 'words>=50' or 'hash_ratio<=0.1'; repeatable."),
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="A recipe whose curate stage has the filters to try.")] = None,
    samples: Annotated[int, typer.Option(min=0, max=100, help="Documents shown of each rule.")] = 2,
) -> None:
    """Show what thresholds would drop before they do: each alone, only it, and the beginnings of some documents.

    Without thresholds: the corpus's own. Nothing is written.

    Examples: bedplate data preview runs/mine/corpus --rules 'words>=100' --rules 'hash_ratio<=0.05' --samples 5

    bedplate data preview runs/mine/corpus --recipe stricter.yaml
    """
    from bedplate.console.figures import visible
    from bedplate.data.provenance.previews import own_rules, preview_corpus, rules_said
    from bedplate.data.provenance.tables import table
    from bedplate.ledger import open_artefact

    console: Console = context.obj
    if rules and recipe is not None:
        raise InputError("--rules and --recipe together", "Give one or the other.")
    if stage is not None and recipe is None:
        raise InputError(f"{stage!r}: a stage of which recipe?", "Name it with --recipe.")
    opened = open_artefact(corpus, "corpus")
    config = rules_said(rules) if rules else _recipe_rules(recipe, stage) if recipe is not None else own_rules(opened)
    found, shown = preview_corpus(opened, config, samples)
    if console.mode != "json":
        rows = [("rule", "column", "drops", "only it", "first")]
        rows += [(r.rule, r.column, f"{r.alone:,}", f"{r.only:,}", f"{r.first:,}") for r in found.rules]
        lines = [f"{found.documents:,} documents, of which {found.dropped:,} would be dropped", "", *table(rows)]
        for rule in found.rules:
            for name in rule.samples:
                sample = shown[name]
                lines += ["", f"{rule.rule}: {name} {sample.source}{'' if sample.kept else ' (left out already)'}"]
                lines += [f"  | {line}" for line in (sample.excerpt or "(no excerpt is kept of it)").splitlines()[:8]]
        typer.echo(visible("\n".join(lines)))
    told = [vars(rule) | {"samples": [vars(shown[name]) for name in rule.samples]} for rule in found.rules]
    answer({"documents": found.documents, "dropped": found.dropped, "rules": told}, console)


def _recipe_rules(path: Path, stage: str | None) -> FiltersConfig:
    """The filters of a recipe's curation."""
    from bedplate.config import build, load_recipe
    from bedplate.data.curate import CurateConfig

    entries = {name: entry for name, entry in load_recipe(path).stages.items() if entry.do == "curate"}
    chosen = [stage] if stage is not None else list(entries)
    if len(chosen) != 1 or chosen[0] not in entries:
        names = ", ".join(entries) or "none"
        raise InputError(f"{path}: which curation? It has: {names}", f"Name one: --recipe {path} STAGE")
    config = build(CurateConfig, entries[chosen[0]])
    if config.filters is None:
        raise InputError(f"{path}: {chosen[0]} has no filters", "Give it a section `filters`.")
    return config.filters


@app.command("mix")
def mix(
    context: typer.Context,
    corpus: Corpus,
    weight: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE=SHARE", help="A source's share of the tokens, in any unit; repeatable."),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=1, help="Shares by size to the power of 1 / temperature.")
    ] = None,
    budget: Annotated[float | None, typer.Option(help="Tokens in an epoch; as many as there are if not given.")] = None,
    most_epochs: Annotated[float, typer.Option(help="How often a document is seen at most in an epoch.")] = 4.0,
    bytes_per_token: Annotated[float, typer.Option(help="What a token is taken to be.")] = 4.0,
    drop_rest: Annotated[bool, typer.Option("--drop-rest", help="Leave out sources without a weight.")] = False,
) -> None:
    """Simulate a mixture of a corpus's sources: tokens, shares and epochs of each. Nothing is written.

    Examples: bedplate data mix runs/mine/corpus --weight code=1 --weight text=3 --budget 1e9

    bedplate data mix runs/mine/corpus --temperature 2 --json
    """
    from pydantic import ValidationError

    from bedplate.console.figures import visible
    from bedplate.data.mix.config import MixConfig
    from bedplate.data.mix.plan import plan_mixture
    from bedplate.data.provenance.previews import sizes_by_label
    from bedplate.data.provenance.tables import table
    from bedplate.ledger import open_artefact

    console: Console = context.obj
    opened = open_artefact(corpus, "corpus")
    try:
        config = MixConfig(
            weights=_weights(weight) if weight else None,
            temperature=temperature,
            rest="drop" if drop_rest else "keep",
            budget=budget,
            most_epochs=most_epochs,
            bytes_per_token=bytes_per_token,
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"data mix: {f'{where}: ' if where else ''}{first['msg'].removeprefix('Value error, ')}",
            f"See: {shlex.join(['bedplate', 'data', 'mix', '--help'])}",
        ) from error
    portions = plan_mixture(sizes_by_label(opened), config)
    if console.mode != "json":
        rows = [("source", "tokens", "epochs", "mixed tokens", "share", "")]
        for label, p in portions.items():
            capped = "as often as it may" if p.capped else ""
            rows.append(
                (label, f"{p.tokens:,.0f}", f"{p.epochs:.3g}", f"{p.mixed_tokens:,.0f}", f"{p.share:.1%}", capped)
            )
        total = sum(p.mixed_tokens for p in portions.values())
        rows.append(("all", f"{sum(p.tokens for p in portions.values()):,.0f}", "", f"{total:,.0f}", "", ""))
        typer.echo(visible("\n".join(table(rows))))
    answer({label: portion.measures() for label, portion in portions.items()}, console)


def _weights(said: list[str]) -> dict[str, float]:
    """SOURCE=SHARE each. Raises InputError for one that isn't, or a source that is there twice."""
    found: dict[str, float] = {}
    for one in said:
        label, equals, share = one.rpartition("=")
        try:
            if not equals or not label or label in found:
                raise ValueError
            found[label] = float(share)
        except ValueError:
            raise InputError(f"--weight {one}: not SOURCE=SHARE, or said twice", "Write --weight code=1.") from None
    return found
