"""One attempt at the work of a stage, in its partial folder, measured; alone or with the other ranks of a torchrun."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from pydantic import ValidationError

from bedplate.config import Config
from bedplate.console import Console
from bedplate.errors import StorageError
from bedplate.ledger.artefact import Artefact
from bedplate.ledger.atomic import atomic_write
from bedplate.ledger.commit import PARTIAL_STATE, remove_tree
from bedplate.ledger.manifest import MANIFEST, Resource, read_manifest
from bedplate.ledger.ranks import Ranks
from bedplate.ledger.resources import Meter
from bedplate.ledger.stage import Inputs, Stage, resolve
from bedplate.ledger.work import Work


def attempt(
    stage: Stage, config: Config, inputs: Inputs, partial: Path, console: Console, ranks: Ranks | None
) -> tuple[Work, dict[str, Resource]]:
    """Run the stage's function, going on with what `partial` holds. Returns its work, and the cost of all attempts."""
    if not stage.resumes and partial.is_dir():  # left by a kill
        remove_tree(partial)
    resumed = partial.is_dir() and any(partial.iterdir())
    partial.mkdir(parents=True, exist_ok=True)
    if resumed:
        console.say(f"going on with the unfinished work in {partial}")
    together = ranks is not None and stage.every_rank
    if ranks is not None:
        ranks.tell("begin", {"work": str(partial) if together else None, "resumed": resumed})
    meter = Meter(_earlier(partial))
    work = Work(partial, console, meter, resumed=resumed)
    run = resolve(stage.run)
    meter.start(lambda figures: _remember(partial, figures))
    try:
        run(config, dict(inputs), work)
    except BaseException:
        _remember(partial, meter.stop())
        raise
    cost = meter.stop()
    return work, ranks.whole_cost(cost) if ranks is not None and together else cost


def clear_failed(stage: Stage, partial: Path) -> None:
    """Remove what a failed attempt left if no later one can use it."""
    with contextlib.suppress(OSError):  # what went wrong is being raised already
        useless = not stage.resumes or all(path.name == PARTIAL_STATE for path in partial.iterdir())
        if useless and not (partial / MANIFEST).exists():
            remove_tree(partial)


def follow(stage: Stage, config: Config, inputs: Inputs, out: Path, ranks: Ranks) -> Artefact:
    """A rank that doesn't lead: take part if all ranks do, wait until the artefact is there, and open it."""
    begin = ranks.hear("begin")
    if begin["work"] is not None:
        meter = Meter()
        work = Work(Path(begin["work"]), Console.quiet(), meter, resumed=begin["resumed"])
        run = resolve(stage.run)
        meter.start(lambda figures: None)
        try:
            run(config, dict(inputs), work)
        finally:
            cost = meter.stop()
        ranks.tell_cost(cost)
    cached = bool(ranks.hear("end")["cached"])
    return Artefact(out, read_manifest(out), cached)


def _earlier(partial: Path) -> dict[str, Resource]:
    """What earlier attempts cost. A state that can't be read costs only that figure."""
    try:
        raw = json.loads((partial / PARTIAL_STATE).read_bytes())
        return {name: Resource.model_validate(value) for name, value in raw.items()}
    except (OSError, ValueError, AttributeError, ValidationError):
        return {}


def _remember(partial: Path, figures: dict[str, Resource]) -> None:
    text = json.dumps({name: figure.model_dump() for name, figure in figures.items()})
    with contextlib.suppress(OSError, StorageError):
        atomic_write(partial / PARTIAL_STATE, text)
