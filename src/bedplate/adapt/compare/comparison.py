"""The compare stage's work: every way with every seed in a process of its own, then figures, page and table."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bedplate.adapt.compare.assembly import assemble, read_runs
from bedplate.adapt.compare.config import CompareConfig, rests_on, seeds_of
from bedplate.adapt.compare.examples import Prepared, prepared, write_examples
from bedplate.adapt.compare.job import Job, place, slugs
from bedplate.adapt.compare.page import comparison_page
from bedplate.adapt.compare.process import Failure, perform
from bedplate.adapt.compare.results import Comparison, Failed
from bedplate.adapt.compare.stage import adapt_config, check
from bedplate.adapt.compare.tell import tell
from bedplate.adapt.ways import described
from bedplate.console import Console, Progress
from bedplate.errors import InputError
from bedplate.ledger.artefact import Artefact
from bedplate.ledger.atomic import atomic_write
from bedplate.ledger.manifest import MANIFEST, read_manifest
from bedplate.ledger.stage import Inputs, flatten
from bedplate.ledger.work import Work

TEST, WARM = "test.jsonl", "warm.jsonl"


def run(config: CompareConfig, inputs: Inputs, work: Work) -> None:
    """Writes comparison.json, report.html, test.jsonl, predictions/, measured/ and ways/WAY/seed-N/, each an artefact.

    A way with one seed that has finished isn't done again. A way that fails is recorded and the rest goes on. Raises
    RecipeError and InputError for all that is wrong with task and recipe before the first way runs, InputError if in
    the end no way has finished.
    """
    given = dict(flatten(inputs))
    check(config, {role: artefact.config for role, artefact in given.items()})
    ready = prepared(config, given["task"].path if "task" in given else None)
    for folder in ("predictions", "measured"):
        (work.path / folder).mkdir(exist_ok=True)
    write_examples(work.path / TEST, ready.task.test)
    write_examples(work.path / WARM, ready.task.validation)
    names = [described(way) for way in config.ways]
    folders = slugs(names)
    failed = _perform_all(config, ready, given, names, folders, work)
    finished = [
        read_runs(work.path, way, name, slug, config)
        for way, name, slug in zip(config.ways, names, folders, strict=True)
        if name not in failed
    ]
    _tidy(work, {slug for name, slug in zip(names, folders, strict=True) if name in failed})
    if not finished:
        first = next(iter(failed.values()))
        raise InputError(f"no way could be compared; {first.name}: {first.problem}", first.fix)
    needs = {run.name: _bytes_needed(run.way, config, given) for run in finished}
    found = assemble(config, ready, split_in_words(config), finished, list(failed.values()), needs)
    if failed:
        found = found.model_copy(update={"try_again": try_again(work.path)})
    atomic_write(work.path / "comparison.json", found.model_dump_json(indent=1) + "\n")
    atomic_write(work.path / "report.html", comparison_page(found).html())
    _volatile(work)
    work.measures.update(_measures(found))
    tell(found, work.path.with_name(work.path.name.partition(".partial-")[0]), work.console)


def try_again(partial: Path) -> str:
    """Commands that make an unfinished comparison of the finished one, which then goes on with what failed. By itself
    a finished one is found and left as it is, failures and all. To be given in the folder that holds it.

    partial: the ledger's folder, whose name says how the same comparison will look for it.
    """
    name = partial.name.partition(".partial-")[0]
    move = ["mv", "--", name, partial.name]
    return f"{shlex.join(move)} && {shlex.join(['rm', '--', f'{partial.name}/{MANIFEST}'])}"


def split_in_words(config: CompareConfig) -> str:
    """How training, validation and test came about."""
    task = config.task
    validation, test = (task.validation, task.test) if task is not None else (0.2, 0.2)
    if task is not None and task.test_file is not None:
        return (
            f"the test set is a file of its own; {validation:.0%} of the rest is for validation, by a hash of its text"
        )
    if task is not None and task.split is not None:
        return f"as the field {task.split!r} says"
    return (
        f"by a hash of each text: {test:.0%} test, {validation:.0%} validation; copies and near copies of a text stay "
        "together"
    )


def _perform_all(
    config: CompareConfig,
    ready: Prepared,
    given: Mapping[str, Artefact],
    names: Sequence[str],
    folders: Sequence[str],
    work: Work,
) -> dict[str, Failed]:
    """Run what hasn't finished yet. Returns the ways that failed."""
    every = [
        (way, name, slug, seed)
        for way, name, slug in zip(config.ways, names, folders, strict=True)
        for seed in seeds_of(way, config)
    ]
    failed: dict[str, Failed] = {}
    # No total: how long one way took says nothing of the next, so there is no time left to tell.
    with work.console.progress("compare", total=None, unit=f"of {len(every)} fits") as progress:
        for number, (way, name, slug, seed) in enumerate(every):
            progress.update(number, way=name, seed=seed)
            out, predictions, measured = place(work.path, slug, seed)
            if name in failed or (measured.is_file() and (out / MANIFEST).is_file()):
                continue
            out.parent.mkdir(parents=True, exist_ok=True)
            job = Job(
                name=name,
                seed=seed,
                adapt=adapt_config(config, way, seed).model_dump(mode="json"),
                inputs={role: str(given[role].path) for role in ("task", *rests_on(way, config)) if role in given},
                out=str(out),
                kind=ready.task.kind,
                classes=ready.task.classes,
                test=str(work.path / TEST),
                warm=str(work.path / WARM),
                latency_requests=config.latency_requests if seed == config.seeds[0] else 0,
                answer_tokens=config.answer_tokens,
                predictions=str(predictions),
                measured=str(measured),
            )
            failure = perform(job, _hear(work.console, progress, number, name), config.limit_s)
            if failure is not None:
                failed[name] = _failed(name, way.way, seed, failure)
                work.console.warn(f"{name} (seed {seed}) failed, the rest goes on: {failure.problem}")
        progress.update(len(every), way="all", seed="all")
    return failed


def _failed(name: str, way: str, seed: int, failure: Failure) -> Failed:
    return Failed(name=name, way=way, seed=seed, problem=failure.problem, fix=failure.fix, trace=failure.trace)


def _hear(console: Console, progress: Progress, number: int, name: str) -> Any:
    """Show how far a worker is beside our own progress, and pass on what it warns of."""

    def hear(event: dict[str, Any]) -> None:
        match event["event"]:
            case "progress":
                total = event.get("total")
                of = "" if total is None else f"/{total:,.0f}"
                progress.update(number, way=name, at=f"{event.get('what')} {event.get('done', 0):,.0f}{of}")
            case "warning":
                console.warn(f"{name}: {event.get('text')}")

    return hear


def _tidy(work: Work, failed: set[str]) -> None:
    """Remove what isn't part of the outcome: locks, and unfinished work of ways that failed."""
    (work.path / WARM).unlink(missing_ok=True)
    for slug in failed:
        shutil.rmtree(work.path / "ways" / slug, ignore_errors=True)
        for folder, suffix in (("predictions", "jsonl"), ("measured", "json")):
            for path in (work.path / folder).glob(f"{slug}-seed-*.{suffix}"):
                path.unlink()
    for path in (work.path / "ways").glob("*/.*"):
        if path.is_file():
            path.unlink()
    for path in (work.path / "ways").glob("*/*.partial-*"):
        shutil.rmtree(path, ignore_errors=True)


def _bytes_needed(way: Any, config: CompareConfig, given: Mapping[str, Artefact]) -> dict[str, int]:
    """The inputs that serving the way takes: all it is made from, but for a model that has all its weights itself."""
    if way.way == "full":
        return {}
    return {role: _size(given[role]) for role in rests_on(way, config) if role in given}


def _size(artefact: Artefact) -> int:
    """What of an artefact is loaded: of a training run its model, of others everything."""
    outputs = artefact.manifest.outputs
    model = [output for output in outputs if output.path.startswith("model/")] if artefact.kind == "run" else []
    return sum(output.bytes for output in model or outputs)


def _volatile(work: Work) -> None:
    """Times and memory differ from run to run, and so does what the ways' own manifests say does."""
    work.volatile("comparison.json", "report.html", "measured/*", f"ways/*/*/{MANIFEST}")
    for manifest in (work.path / "ways").glob(f"*/*/{MANIFEST}"):
        inside = manifest.parent.relative_to(work.path).as_posix()
        for output in read_manifest(manifest.parent).outputs:
            if output.volatile:
                work.volatile(f"{inside}/{output.path}")


def _measures(found: Comparison) -> dict[str, Any]:
    told = {} if found.try_again is None else {"try_again": found.try_again}
    return told | {
        "advised": found.advice.way,
        "best": found.advice.best,
        "tied": ", ".join(found.advice.tied),
        "metric": found.task.metric,
        "test_examples": found.task.test,
        "ways": {
            way.name: {
                "score": way.score.value,
                "low": way.score.low,
                "high": way.score.high,
                "group": way.group,
                "cost_1000": way.cost_1000,
                "folder": way.folder,
            }
            for way in found.ways
        },
        "failed": {failed.name: failed.problem for failed in found.failed},
    }
