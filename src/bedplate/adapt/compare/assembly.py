"""From what the workers wrote to a `Comparison`: scores, groups, costs, what is confused, where ways disagree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.adapt.compare.advice import advise
from bedplate.adapt.compare.config import CompareConfig, asks_endpoint, seeds_of
from bedplate.adapt.compare.costs import BREAK_EVEN_RULE, Cost, break_even, cost
from bedplate.adapt.compare.examples import Prepared
from bedplate.adapt.compare.job import Measurement, place
from bedplate.adapt.compare.results import (
    Behind,
    Comparison,
    Crossing,
    Disagreement,
    Failed,
    Mistakes,
    SeedScore,
    Share,
    TaskFacts,
    WayResult,
)
from bedplate.adapt.compare.scores import EXACT_MATCH_RULE, confusions, exact_match, macro_f1, recalls, token_f1
from bedplate.adapt.compare.statistics import Difference, Resamples
from bedplate.errors import InternalError
from bedplate.tasks.examples import Example
from bedplate.tasks.task_split import hash_share

SHOWN_DISAGREEMENTS = 12
SHOWN_CONFUSIONS = 8

RULES = {
    "interval": "95% percentile bootstrap: test examples are drawn anew, and for a random way its seeds too.",
    "tied": "A way is tied with the best if a two-sided paired bootstrap test, corrected by Holm's method over all "
    "ways, doesn't tell them apart at the 5% level. The next group is made of the rest in the same manner.",
    "advice": "Of the ways that are tied with the best and score at most the margin less, the one whose fit and "
    "requests together cost least.",
    "latency": "Single requests, one after the other, after a warm-up, on validation examples; median and 95th "
    "percentile of wall-clock time.",
    "cost": "Processor seconds (all cores) of a single request at the price of a core's hour, accelerator seconds "
    "likewise, and an endpoint's tokens, as its replies state them, at its prices. Batching requests costs less. To "
    "fit: the same of fitting, and the labels.",
    "memory": "The greatest resident memory of the way's own process, fitting and answering.",
    "fitting": "Seconds and processor time of making the artefact, in all attempts together: libraries and models are "
    "loaded, settings searched for, the finished artefact asked a few validation examples. With several seeds: of one "
    "fit, on average. Operations are those of fitting and of the search.",
    "labels": "Training examples that a way learns from, and validation examples that it chooses settings by. Both are "
    "paid for, as if each way had to buy its own.",
    "break_even": BREAK_EVEN_RULE,
    "serve": "The folder to serve is the seed that was best on validation.",
}


@dataclass(frozen=True)
class Runs:
    """What one way wrote. slug: of its folders; answers [seeds][examples] as its predictions' rows."""

    way: Any
    name: str
    slug: str
    measured: list[Measurement]
    rows: list[list[dict[str, Any]]]

    @property
    def answers(self) -> list[list[str]]:
        return [[row["answer"] for row in rows] for rows in self.rows]


def read_runs(folder: Path, way: Any, name: str, slug: str, config: CompareConfig) -> Runs:
    """All seeds of a way, from the comparison's folder."""
    measured, rows = [], []
    for seed in seeds_of(way, config):
        _, predictions, written = place(folder, slug, seed)
        measured.append(Measurement.model_validate_json(written.read_bytes()))
        rows.append([json.loads(line) for line in predictions.read_text(encoding="utf-8").split("\n") if line])
    return Runs(way, name, slug, measured, rows)


def assemble(
    config: CompareConfig, prepared: Prepared, split: str, runs: Sequence[Runs], failed: Sequence[Failed], needs: Any
) -> Comparison:
    """needs: way -> {role: bytes} of the inputs that serving it takes."""
    test = prepared.task.test
    for run in runs:
        if any([row["id"] for row in rows] != [example.id for example in test] for rows in run.rows):
            raise InternalError(f"{run.name}: its answers aren't those to the test examples")
    classes = prepared.task.kind == "classification"
    rights = {run.name: _rights(run, test, classes=classes) for run in runs}
    resamples = Resamples(rights)
    groups = resamples.groups()
    costs = {
        run.name: cost(run.measured, config.prices, config.endpoint if asks_endpoint(run.way, config) else None)
        for run in runs
    }
    behind = resamples.against_best([run.name for run in runs])
    order = {name: (number, -resamples.scores[name]) for number, group in enumerate(groups) for name in group}
    ways = tuple(
        _way(run, config, resamples, groups, costs, behind.get(run.name), rights[run.name], test, needs[run.name])
        for run in sorted(runs, key=lambda run: order[run.name])
    )
    facts = _facts(prepared, split)
    inside = [behind[name] for name in groups[0] if name in behind]
    tellable = max((*((d.high - d.low) / 2 for d in inside), resamples.least)) if inside else None
    advice = advise(ways, failed, facts, config, tellable)
    told = list(dict.fromkeys((advice.way, advice.best)))
    return Comparison(
        task=facts,
        advice=advice,
        ways=ways,
        failed=tuple(failed),
        mistakes=tuple(_mistakes(run, test) for name in told for run in runs if run.name == name) if classes else (),
        disagreements=_disagreements(runs, rights, test),
        tellable=tellable,
        seeds=config.seeds,
        budget=config.budget.model_dump(mode="json"),
        prices=config.prices.model_dump(mode="json"),
        margin=config.margin,
        requests=config.requests,
        rules=RULES if classes else {**RULES, "exact match": EXACT_MATCH_RULE},
    )


def _rights(run: Runs, test: Sequence[Example], *, classes: bool) -> Any:
    """[seeds, examples]: 1 where the answer is right."""
    targets = [example.target for example in test]
    right = [
        [
            row["answer"] == target if classes else exact_match(row["answer"], target, abstained=row["abstained"])
            for row, target in zip(rows, targets, strict=True)
        ]
        for rows in run.rows
    ]
    return np.array(right, dtype=np.float64)


def _way(
    run: Runs,
    config: CompareConfig,
    resamples: Resamples,
    groups: Sequence[Sequence[str]],
    costs: Mapping[str, Cost],
    behind: Difference | None,
    rights: Any,
    test: Sequence[Example],
    needs: dict[str, int],
) -> WayResult:
    measured, name = run.measured, run.name
    seeds = tuple(
        SeedScore(score=float(right.mean()), second=second, folder=_folder(run.slug, one.seed), measured=one)
        for right, second, one in zip(rights, _seconds(run, test), measured, strict=True)
    )
    found = resamples.interval(name)
    crossing = break_even(name, costs, groups)
    latencies = [value for one in measured for value in one.latencies_s]
    flops = [one.fit_flops for one in measured if one.fit_flops is not None]
    best_seed = max(measured, key=lambda one: -1.0 if one.validation is None else one.validation).seed
    median, late = (float(value) for value in np.quantile(latencies, [0.5, 0.95]))
    return WayResult(
        name=name,
        way=run.way.way,
        kind=measured[0].kind,
        settings=run.way.model_dump(mode="json", exclude={"way", "name"}),
        seeds=seeds,
        score=Share(value=found.value, low=found.low, high=found.high),
        spread=(min(s.score for s in seeds), max(s.score for s in seeds)) if len(seeds) > 1 else None,
        second=_mean([seed.second for seed in seeds]),
        group=next(number for number, group in enumerate(groups, start=1) if name in group),
        behind=None if behind is None else _behind(behind),
        folder=_folder(run.slug, best_seed),
        rests_on=needs,
        labels_used=max(one.labels_used for one in measured),
        labels_for_choices=max(one.labels_for_choices for one in measured),
        fit_s=_mean([one.fit_s for one in measured]),
        fit_flops=_mean(flops) if flops else None,
        peak_bytes=max(one.peak_bytes for one in measured),
        own_bytes=max(one.own_bytes for one in measured),
        prompt_tokens=_mean_or_none([one.prompt_tokens for one in measured]),
        completion_tokens=_mean_or_none([one.completion_tokens for one in measured]),
        cost_known=costs[name].known,
        latency_s=(median, late),
        latency_requests=len(latencies),
        fit_cost=costs[name].fit,
        cost_1000=1000 * costs[name].request,
        whole_cost=costs[name].whole(config.requests),
        break_even=None
        if crossing is None
        else Crossing(against=crossing.against, cheaper=crossing.cheaper, requests=crossing.requests),
        **_answered(run, rights),
    )


def _answered(run: Runs, rights: Any) -> dict[str, float | None]:
    """Abstentions and citations of free-text answers."""
    if run.rows[0][0]["probability"] is not None:
        return {"abstained": None, "cited": None, "right_of_answered": None}
    rows = [row for rows in run.rows for row in rows]
    given = np.array([[not row["abstained"] for row in of_seed] for of_seed in run.rows])
    answered = int(given.sum())
    return {
        "abstained": 1 - answered / len(rows),
        "cited": sum(bool(row["sources"]) for row in rows) / len(rows),
        "right_of_answered": float(rights[given].sum()) / answered if answered else None,
    }


def _seconds(run: Runs, test: Sequence[Example]) -> list[float]:
    targets = [example.target for example in test]
    if run.rows[0][0]["probability"] is not None:
        return [macro_f1(targets, answers) for answers in run.answers]
    return [
        _mean([token_f1(r["answer"], t, abstained=r["abstained"]) for r, t in zip(rows, targets, strict=True)])
        for rows in run.rows
    ]


def _behind(difference: Difference) -> Behind:
    return Behind(
        difference=Share(value=difference.value, low=difference.low, high=difference.high),
        p=difference.p,
        p_corrected=difference.p_corrected,
    )


def _folder(slug: str, seed: int) -> str:
    return place(Path(), slug, seed)[0].as_posix()


def _facts(prepared: Prepared, split: str) -> TaskFacts:
    task = prepared.task
    classes = task.kind == "classification"
    return TaskFacts(
        name=task.name,
        kind=task.kind,
        metric="accuracy" if classes else "exact match",
        second="macro-F1" if classes else "word F1",
        classes=task.classes,
        train=len(task.train),
        train_available=prepared.train_available,
        validation=len(task.validation),
        test=len(task.test),
        test_available=prepared.available,
        split=split,
    )


def _mistakes(run: Runs, test: Sequence[Example]) -> Mistakes:
    targets = [example.target for example in test] * len(run.answers)
    answers = [answer for seed in run.answers for answer in seed]
    return Mistakes(
        name=run.name,
        confused=tuple(confusions(targets, answers)[:SHOWN_CONFUSIONS]),
        weakest=tuple(recalls(targets, answers)[:SHOWN_CONFUSIONS]),
    )


def _disagreements(
    runs: Sequence[Runs], rights: Mapping[str, Any], test: Sequence[Example]
) -> tuple[Disagreement, ...]:
    """Where about half of the ways are right, of as many classes as there are; the first seed of each way speaks."""
    found: list[tuple[float, float, int]] = []
    for number, example in enumerate(test):
        right = sum(float(rights[run.name][0, number]) for run in runs)
        if 0 < right < len(runs):
            found.append((abs(right - len(runs) / 2), hash_share(example.input, "shown"), number))
    shown: list[int] = []
    targets: set[str] = set()
    for again in (False, True):  # first one of each class, then whatever is left
        for _, _, number in sorted(found):
            if (
                len(shown) < SHOWN_DISAGREEMENTS
                and number not in shown
                and (again or test[number].target not in targets)
            ):
                shown.append(number)
                targets.add(test[number].target)
    return tuple(
        Disagreement(
            input=test[number].input,
            target=test[number].target,
            row=test[number].row,
            answers={run.name: run.answers[0][number] for run in runs},
            right=tuple(run.name for run in runs if rights[run.name][0, number]),
        )
        for number in shown
    )


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _mean(known) if len(known) == len(values) else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
