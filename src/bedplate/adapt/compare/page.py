"""The comparison's page: what to take first, then the picture, the tables, what is confused, and how it was done."""

from __future__ import annotations

from collections.abc import Sequence

from bedplate.adapt.compare.results import Comparison, Disagreement, Mistakes, WayResult
from bedplate.adapt.compare.wording import (
    TRY_AGAIN,
    crossing,
    interval,
    listed,
    moment,
    money,
    percent,
    points,
)
from bedplate.console.figures import bytes_text, counted, duration
from bedplate.report.markup import Markup, escape
from bedplate.report.page import Cell, Page
from bedplate.report.quantities import prefixed_text
from bedplate.report.scatter import Point, scatter_plot

LONGEST_INPUT = 600
LONGEST_SUMMARY = 90
UNBROKEN = 48
FITTING = "fitting, loading included"


def comparison_page(found: Comparison) -> Page:
    """The page; everything on it is in comparison.json too."""
    task = found.task
    page = Page(
        f"{counted(len(found.ways), 'way')} of adapting to {task.name}",
        f"{task.metric.capitalize()} on {task.test:,} test examples; {task.train:,} labelled examples to learn from.",
    )
    page.heading("What to take")
    for reason in found.advice.reasons:
        page.text(reason)
    if found.failed:
        _failures(page, found)
    page.heading("Quality and cost")
    page.figure(_picture(found), _caption(found))
    page.heading("How good")
    _quality(page, found)
    page.heading("What it costs")
    _costs(page, found)
    if found.mistakes:
        page.heading("What is confused")
        for mistakes in found.mistakes:
            _mistakes(page, mistakes)
    if found.disagreements:
        page.heading("Where the ways disagree")
        page.text(
            f"{len(found.disagreements)} test examples on which some ways are right and others wrong, by the first "
            "seed of each; those that divide the ways most."
        )
        for disagreement in found.disagreements:
            _disagreement(page, disagreement, found.ways)
    page.heading("How it was done")
    _method(page, found)
    return page


def _failures(page: Page, found: Comparison) -> None:
    for failed in found.failed:
        fix = f" {failed.fix}" if failed.fix else ""
        page.warning(f"{failed.name} (seed {failed.seed}) failed: {failed.problem}.{fix}")
        if failed.trace:
            inside = Page("")
            inside.code(failed.trace)
            page.fold("Where it happened", inside)
    if found.try_again is not None:
        page.text(f"{TRY_AGAIN} In the folder that holds this comparison:")
        page.code(found.try_again)


def _picture(found: Comparison) -> Markup:
    free = all(way.cost_1000 <= 0 for way in found.ways)
    return scatter_plot(
        [
            Point(
                way.name,
                way.latency_s[0] if free else way.cost_1000,
                100 * way.score.value,
                100 * way.score.low,
                100 * way.score.high,
                kind="needs no foundation model" if way.kind == "baseline" else "with a foundation model",
                emphasis=way.name == found.advice.way,
            )
            for way in found.ways
        ],
        title="Quality against cost",
        x_label="seconds of a request (logarithmic)"
        if free
        else f"{_currency(found)} for 1,000 requests (logarithmic)",
        y_label=f"{found.task.metric}, %",
        log_x=True,
    )


def _caption(found: Comparison) -> str:
    return (
        f"Up is better, left is cheaper. Bars are 95% intervals over {found.task.test:,} test examples and over seeds. "
        f"{found.advice.way} is ringed."
        + (
            f" What {listed(unknown)} cost isn't known: the points lie too far left."
            if (unknown := [way.name for way in found.ways if not way.cost_known])
            else ""
        )
    )


def _quality(page: Page, found: Comparison) -> None:
    words = found.task.kind == "generation"
    headers = [
        "way",
        "group",
        found.task.metric,
        "95% interval",
        "points behind the best",
        "p",
        "seeds",
        found.task.second,
    ]
    headers += ["declined", "with sources", "right of answered"] if words else []
    rows: list[list[Cell]] = []
    for way in found.ways:
        row: list[Cell] = [_whole(way.name), way.group, percent(way.score.value), _whole(interval(way.score))]
        row += [_behind(way), _p(way), _whole(_spread(way)), percent(way.second)]
        if words:
            row += [percent(v) if v is not None else None for v in (way.abstained, way.cited, way.right_of_answered)]
        rows.append(row)
    page.table(headers, rows, right=[found.task.metric, "p", found.task.second])
    page.text(
        "Ways of one group are tied: what separates them is no more than chance would make it. p is corrected for the "
        "number of ways; a way that isn't random runs with one seed."
        + (
            f" In the first group this test set tells differences from about {points(found.tellable)} on."
            if found.tellable
            else ""
        )
    )


def _behind(way: WayResult) -> str | None:
    if way.behind is None:
        return None
    behind = way.behind.difference
    return _whole(f"{100 * behind.value:.1f} ({100 * behind.low:.1f} to {100 * behind.high:.1f})")


def _p(way: WayResult) -> str | None:
    if way.behind is None:
        return None
    return "< 0.001" if way.behind.p_corrected < 0.001 else f"{way.behind.p_corrected:.3f}"


def _spread(way: WayResult) -> str:
    if way.spread is None:
        return "1"
    return f"{len(way.seeds)}: {percent(way.spread[0])} to {percent(way.spread[1])}"


def _costs(page: Page, found: Comparison) -> None:
    currency = _currency(found)
    fit = f"{currency} to fit"
    once: list[list[Cell]] = []
    for way in found.ways:
        flops = None if way.fit_flops is None else prefixed_text(way.fit_flops)
        needs = ", ".join(f"{role} {bytes_text(size)}" for role, size in way.rests_on.items())
        row: list[Cell] = [_whole(way.name), way.labels_used, way.labels_for_choices, duration(way.fit_s), flops]
        row.append(_cost(way, way.fit_cost))
        once.append([*row, bytes_text(way.peak_bytes), bytes_text(way.own_bytes), _whole(needs or "nothing")])
    page.table(
        ["way", "labels", "labels for choices", FITTING, "operations", fit, "memory", "own size", "needs besides"],
        once,
        caption="Once, to make it",
        right=(FITTING, "operations", fit, "memory", "own size"),
    )
    thousand, volume = f"{currency} for 1,000", f"{currency} for {found.requests:,}"
    each: list[list[Cell]] = []
    for way in found.ways:
        row = [_whole(way.name), *(_tokens(count) for count in (way.prompt_tokens, way.completion_tokens))]
        row += [moment(way.latency_s[0]), moment(way.latency_s[1])]
        row += [_cost(way, way.cost_1000), _cost(way, way.whole_cost), _whole(crossing(way.break_even))]
        each.append([*row, _whole(way.break_even.against) if way.break_even else None])
    page.table(
        ["way", "tokens read", "written", "median", "95th percentile", thousand, volume, "is cheaper", "than"],
        each,
        caption="For each request",
        right=("median", "95th percentile", thousand, volume),
    )
    page.text(f"The column of {found.requests:,} requests holds one fit and that many requests. {found.rules['cost']}")
    page.text(found.rules["break_even"])


def _whole(text: str) -> Markup:
    """Text that a narrow column doesn't break, unless it is very long."""
    return Markup(f'<span style="white-space:nowrap">{escape(text)}</span>') if len(text) <= UNBROKEN else escape(text)


def _cost(way: WayResult, value: float) -> str:
    return money(value, "").rstrip() if way.cost_known else "unknown"


def _tokens(count: float | None) -> int | str:
    return "unknown" if count is None else round(count)


def _currency(found: Comparison) -> str:
    return str(found.prices["currency"])


def _mistakes(page: Page, mistakes: Mistakes) -> None:
    page.heading(mistakes.name, level=3)
    if not mistakes.confused:
        page.text("Nothing.")
        return
    page.table(
        ["right", "answered instead", "times"], [[*pair] for pair in mistakes.confused], caption="Most often confused"
    )
    page.table(
        ["class", "found", "test examples"],
        [[name, percent(share), count] for name, share, count in mistakes.weakest],
        caption="Found least",
        right=["found"],
    )


def _disagreement(page: Page, one: Disagreement, ways: Sequence[WayResult]) -> None:
    inside = Page("")
    inside.code(_cut(one.input, LONGEST_INPUT))
    inside.text(f"Right: {one.target} (line {one.row} of the task's file)")
    inside.table(
        ["way", "answer", ""],
        [
            [_whole(way.name), _cut(one.answers[way.name], LONGEST_INPUT), "right" if way.name in one.right else ""]
            for way in ways
        ],
    )
    page.fold(f"{_cut(one.input, LONGEST_SUMMARY)}: {len(one.right)} of {len(ways)} right", inside)


def _method(page: Page, found: Comparison) -> None:
    task, budget = found.task, found.budget
    flops = budget.get("flops")
    page.facts(
        {
            "task": task.name,
            "classes": len(task.classes) or None,
            "training examples": _of(task.train, task.train_available),
            "validation examples, for choices": task.validation,
            "test examples, scored once": _of(task.test, task.test_available),
            "split": task.split,
            "budget": f"{budget.get('labels') or 'all'} labels, "
            + (f"{prefixed_text(flops, 'FLOP')} of fitting, search included" if flops else "operations unbounded"),
            "margin of the advice": points(found.margin),
            "seeds of random ways": ", ".join(map(str, found.seeds)),
            "prices": ", ".join(
                f"{money(found.prices[key], _currency(found))} {name}"
                for key, name in (
                    ("cpu_hour", "a core's hour"),
                    ("gpu_hour", "an accelerator's hour"),
                    ("label", "a label"),
                )
                if found.prices[key]
            )
            or "none",
        }
    )
    for name, rule in found.rules.items():
        if name not in ("cost", "break_even"):
            page.text(f"{name.capitalize()}: {rule[0].lower() if rule[0] != 'A' else rule[0]}{rule[1:]}")
    inside = Page("")
    inside.table(
        ["way", "settings", "chosen and measured while fitting"],
        [[_whole(way.name), _settings(way.settings), _settings(way.seeds[0].measured.chosen)] for way in found.ways],
    )
    page.fold("Settings of each way", inside)


def _of(used: int, available: int) -> str:
    return f"{used:,}" if used == available else f"{used:,} of {available:,}, fixed by a hash of their texts"


def _settings(values: dict[str, object]) -> str:
    told = []
    for name, value in values.items():
        if value is None:
            continue
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        told.append(f"{name.replace('_', ' ')} {_cut(text, 120)}")
    return "; ".join(told)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
