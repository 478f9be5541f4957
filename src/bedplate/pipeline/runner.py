"""`run`: a recipe's stages, each found made or made now, and at the end what came out and what to do next."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bedplate.config.recipe import load_recipe
from bedplate.console import Console
from bedplate.console.figures import duration
from bedplate.errors import RecipeError
from bedplate.ledger.artefact import Artefact
from bedplate.ledger.place import check_place, check_settings
from bedplate.ledger.production import produce
from bedplate.ledger.ranks import follower
from bedplate.ledger.stage import resolve
from bedplate.pipeline.next_commands import next_commands
from bedplate.pipeline.plan import Step, plan, upto

SUMMARY_WIDTH = 60
TELLING = ("bits_per_byte", "acc", "greatest_logit_error", "loss", "kept", "tokens", "documents", "vocab_size", "steps")
"""Measures that a reader of the summary looks for, the most wanted first. What a stage calls otherwise comes after."""


def run(
    recipe: Path | str,
    overrides: Sequence[str] = (),
    *,
    stage: str | None = None,
    verb: str | None = None,
    console: Console | None = None,
    replace: bool = False,
) -> dict[str, Artefact]:
    """Run a recipe; `stage` (or the one stage that does `verb`) only, with what it needs, where given.

    What is already made is used as it is; what was interrupted goes on. Returns the artefacts by stage name, in the
    order they were made. Raises RecipeError or InputError before anything runs for everything that can be known then.
    """
    console = Console.quiet() if follower() else console or Console()
    loaded = load_recipe(recipe, overrides)
    steps = plan(loaded)
    if verb is not None:
        stage = _stage_for(verb, stage, steps)
    if stage is not None:
        steps = upto(steps, stage)
    for step in steps:
        check_place(step.out)
        if not replace:
            check_settings(step.stage, step.config, step.out)
    _foresee(steps)
    made: dict[str, Artefact] = {}
    seconds: dict[str, float] = {}
    for step in steps:
        console.heading(f"{step.name} ({step.stage.name})")
        began = time.monotonic()
        made[step.name] = produce(
            step.stage,
            step.config,
            _artefacts(step, made),
            step.out,
            name=step.name,
            console=console,
            replace=replace,
        )
        seconds[step.name] = time.monotonic() - began
        console.say(f"{'found' if made[step.name].cached else 'made'} {step.out}")
    _summary(made, seconds, console)
    return made


def _foresee(steps: Sequence[Step]) -> None:
    """Raise what a stage would raise for its raw sources or its inputs' settings, before an earlier one has run."""
    configs = {step.name: step.config.model_dump(mode="json") for step in steps}
    for number, step in enumerate(steps):
        if step.stage.sources and not _waits(configs[step.name], steps[:number]):
            resolve(step.stage.sources)(step.config)
        if step.stage.check:
            made_from = {
                role: configs[values[0]] if isinstance(values[0], str) else values[0].config
                for role, values in step.inputs.items()
                if len(values) == 1
            }
            try:
                resolve(step.stage.check)(step.config, made_from)
            except RecipeError as error:
                raise RecipeError(f"stages.{step.name}: {error.problem}", error.fix) from error


def _waits(config: object, earlier: Sequence[Step]) -> bool:
    """Whether a text in the configuration is a path into what an earlier step will have made."""
    if isinstance(config, dict):
        return any(_waits(value, earlier) for value in config.values())
    if isinstance(config, list):
        return any(_waits(value, earlier) for value in config)
    if not isinstance(config, str):
        return False
    path = Path(os.path.abspath(config))
    return any(path.is_relative_to(os.path.abspath(step.out)) for step in earlier)


def _stage_for(verb: str, stage: str | None, steps: Sequence[Step]) -> str:
    """The stage that a command such as `bedplate pretrain RECIPE [STAGE]` means."""
    doing = [step.name for step in steps if step.stage.name == verb]
    if stage is None:
        if len(doing) == 1:
            return doing[0]
        if not doing:
            raise RecipeError(f"no stage of the recipe does {verb}", f"It has: {', '.join(s.name for s in steps)}.")
        raise RecipeError(f"several stages of the recipe do {verb}: {', '.join(doing)}", "Name the one that you mean.")
    found = next((step for step in steps if step.name == stage), None)
    if found is not None and found.stage.name != verb:
        raise RecipeError(
            f"the stage {stage!r} does {found.stage.name}, not {verb}",
            f"Use: bedplate {found.stage.name} RECIPE {stage}",
        )
    return stage


def _artefacts(step: Step, made: Mapping[str, Artefact]) -> dict[str, Artefact | list[Artefact]]:
    roles = step.stage.roles()
    result: dict[str, Artefact | list[Artefact]] = {}
    for role, values in step.inputs.items():
        found = [made[value] if isinstance(value, str) else value for value in values]
        result[role] = found if roles[role].many else found[0]
    return result


def _summary(made: Mapping[str, Artefact], seconds: Mapping[str, float], console: Console) -> None:
    rows = [
        (name, "cached" if artefact.cached else duration(seconds[name]), artefact.path, key_measures(artefact))
        for name, artefact in made.items()
    ]
    console.say("")
    console.table(rows, ["stage", "time", "folder", "measures"])
    console.say("")
    console.heading("next")
    commands = [(shlex.join(command), purpose) for command, purpose in next_commands(list(made.values()))]
    width = max((len(command) for command, _ in commands), default=0)
    for command, purpose in commands:
        console.say(f"  {command:<{width}}  # {purpose}")


def key_measures(artefact: Artefact) -> str:
    """The few figures among the stage's measures that tell most: "train bits per byte 1.92, steps 400"."""
    figures = list(_figures(artefact.measures, ()))
    figures.sort(key=lambda figure: _rank(figure[0]))  # stable: the stage's own order otherwise
    shown = ""
    for path, value in figures:
        figure = f"{' '.join(path).replace('_', ' ')} {_text(value)}"
        longer = f"{shown}, {figure}" if shown else figure
        if shown and len(longer) > SUMMARY_WIDTH:
            break
        shown = longer
    return shown


def _figures(measures: Mapping[str, object], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], float]]:
    for name, value in measures.items():
        if isinstance(value, dict):
            yield from _figures(value, (*path, name))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield (*path, name), value


def _rank(path: tuple[str, ...]) -> int:
    near = path if len(path) <= 2 else ()  # what lies deeper is a detail of something shown already
    return min((TELLING.index(name) for name in near if name in TELLING), default=len(TELLING))


def _text(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
