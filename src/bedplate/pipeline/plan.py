"""From a recipe to an ordered, checked list of stages. Everything that can be wrong is found before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bedplate.config import Config, build
from bedplate.config.nearest import expected_one_of, nearest
from bedplate.config.recipe import Recipe, StageEntry
from bedplate.errors import ArtefactError, RecipeError
from bedplate.ledger.artefact import Artefact, open_artefact
from bedplate.ledger.place import real
from bedplate.ledger.stage import Role, Stage
from bedplate.pipeline.stages import find_stage

RUNS = Path("runs")


@dataclass(frozen=True)
class Step:
    """One stage, ready to run."""

    name: str
    stage: Stage
    config: Config
    inputs: Mapping[str, list[str | Artefact]]
    """Role -> names of earlier steps, and artefacts from elsewhere."""
    out: Path


def plan(recipe: Recipe) -> list[Step]:
    """The recipe's stages in the order to run them in, as the recipe has them where the inputs leave a choice.

    Raises RecipeError or ArtefactError for unknown verbs, keys, values, inputs and kinds, for missing inputs, for
    cycles and for two stages with one folder: all before anything has run.
    """
    stages = {name: find_stage(entry) for name, entry in recipe.stages.items()}
    configs = {name: build(stages[name].config, entry) for name, entry in recipe.stages.items()}
    kinds = {name: stage.made_kind(configs[name]) for name, stage in stages.items()}
    steps = {}
    for name, entry in recipe.stages.items():
        out = Path(entry.out) if entry.out else RUNS / recipe.name / name
        steps[name] = Step(name, stages[name], configs[name], _inputs(entry, stages[name], kinds), out)
    _distinct_folders(recipe, steps)
    return _ordered(recipe, steps)


def upto(steps: list[Step], name: str) -> list[Step]:
    """The steps that `name` needs, itself last. Raises RecipeError if the recipe has no such stage."""
    by_name = {step.name: step for step in steps}
    if name not in by_name:
        raise RecipeError(f"no stage {name!r} in the recipe; {expected_one_of(name, by_name)}", None)
    needed: set[str] = set()
    waiting = [name]
    while waiting:
        step = by_name[waiting.pop()]
        needed.add(step.name)
        waiting += [value for values in step.inputs.values() for value in values if isinstance(value, str)]
    return [step for step in steps if step.name in needed]


def _inputs(entry: StageEntry, stage: Stage, kinds: Mapping[str, str]) -> dict[str, list[str | Artefact]]:
    """kinds: of what each stage of the recipe makes."""
    roles = stage.roles()
    for given in entry.inputs:
        if given not in roles:
            raise RecipeError(
                f"{entry.place('inputs', given)}: stages.{entry.name}.inputs.{given}: unknown input of "
                f"{entry.do}; {expected_one_of(given, roles)}",
                None,
            )
    resolved: dict[str, list[str | Artefact]] = {}
    for role in roles.values():
        value = entry.inputs.get(role.name)
        place = f"{entry.place('inputs', role.name)}: stages.{entry.name}.inputs.{role.name}"
        if value is None:
            if not role.optional and not role.many:
                raise RecipeError(
                    f"{place}: missing; {entry.do} needs a {role} artefact", f"For example: {_example(role, kinds)}"
                )
            continue
        if isinstance(value, list) and not role.many:
            raise RecipeError(f"{place}: takes one artefact, not a list", None)
        names = value if isinstance(value, list) else [value]
        resolved[role.name] = [_one(name, role, kinds, place, entry.name) for name in names]
    return resolved


def _one(name: str, role: Role, kinds: Mapping[str, str], place: str, own: str) -> str | Artefact:
    """A stage's name, or the artefact at a path; of a kind that the role takes."""
    if name in kinds:
        if not role.accepts(kinds[name]):
            raise RecipeError(
                f"{place}: the stage {name!r} makes a {kinds[name]} artefact, where a {role} artefact is needed",
                _suggestion(role, kinds, own),
            )
        return name
    path = Path(name)
    if not path.exists():
        near = nearest(name, [stage for stage in kinds if stage != own])
        raise RecipeError(
            f"{place}: {name!r} is neither a stage of this recipe ({', '.join(kinds)}) nor a folder"
            + (f"; nearest: {near}" if near else ""),
            None,
        )
    try:
        return open_artefact(path, "|".join(role.kinds))
    except ArtefactError as error:
        raise ArtefactError(f"{place}: {error.problem}", error.fix) from error


def _suggestion(role: Role, kinds: Mapping[str, str], own: str) -> str | None:
    fitting = [name for name, kind in kinds.items() if name != own and role.accepts(kind)]
    return f"Stages that make one: {', '.join(fitting)}." if fitting else None


def _example(role: Role, kinds: Mapping[str, str]) -> str:
    fitting = [name for name, kind in kinds.items() if role.accepts(kind)]
    return f"inputs: {{{role.name}: {fitting[0] if fitting else f'runs/.../{role.kinds[0]}'}}}"


def _distinct_folders(recipe: Recipe, steps: Mapping[str, Step]) -> None:
    owner: dict[Path, str] = {}
    for name, step in steps.items():
        folder = real(step.out)
        if folder in owner:
            raise RecipeError(
                f"{recipe.stages[name].place('out')}: stages.{name}.out: {step.out} is where the stage "
                f"{owner[folder]!r} writes too",
                "Give each stage a folder of its own.",
            )
        owner[folder] = name


def _ordered(recipe: Recipe, steps: Mapping[str, Step]) -> list[Step]:
    done: dict[str, Step] = {}
    waiting = dict(steps)
    while waiting:
        ready = next((step for step in waiting.values() if _needs(step) <= done.keys()), None)
        if ready is None:
            cycle = _cycle(waiting)
            raise RecipeError(
                f"{recipe.stages[cycle[0]].place('inputs')}: stages need each other in a circle: {' <- '.join(cycle)}",
                "Take one of these inputs out.",
            )
        done[ready.name] = waiting.pop(ready.name)
    return list(done.values())


def _needs(step: Step) -> set[str]:
    return {value for values in step.inputs.values() for value in values if isinstance(value, str)}


def _cycle(waiting: Mapping[str, Step]) -> list[str]:
    """A circle among steps each of which waits for another."""
    path = [next(iter(waiting))]
    while True:
        following = next(name for name in sorted(_needs(waiting[path[-1]])) if name in waiting)
        if following in path:
            return [*path[path.index(following) :], following]
        path.append(following)
