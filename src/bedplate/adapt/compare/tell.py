"""The comparison in the terminal: the table, the advice, and what to do next."""

from __future__ import annotations

import shlex
from pathlib import Path

from bedplate.adapt.compare.results import Comparison
from bedplate.adapt.compare.wording import TRY_AGAIN, interval, moment, money, percent
from bedplate.console import Console
from bedplate.console.figures import bytes_text, duration


def tell(found: Comparison, folder: Path, console: Console) -> None:
    """folder: where the comparison will lie."""
    currency = str(found.prices["currency"])
    console.say("")
    console.table(
        [
            (
                way.name,
                way.group,
                percent(way.score.value),
                interval(way.score),
                duration(way.fit_s),
                bytes_text(way.peak_bytes),
                moment(way.latency_s[0]),
                money(way.cost_1000, "").rstrip() if way.cost_known else "unknown",
            )
            for way in found.ways
        ],
        (
            "way",
            "group",
            found.task.metric,
            "95% interval",
            "fit and load",
            "memory",
            "latency",
            f"{currency} for 1,000",
        ),
    )
    for failed in found.failed:
        console.warn(f"{failed.name} (seed {failed.seed}) failed: {failed.problem}")
    if found.try_again is not None:
        console.say(f"{TRY_AGAIN} In {folder.parent}:")
        console.say(f"  {found.try_again}")
    console.say("")
    for reason in found.advice.reasons:
        console.say(reason)
    advised = next(way for way in found.ways if way.name == found.advice.way)
    commands = [
        (["bedplate", "serve", str(folder / advised.folder)], f"serve {advised.name}"),
        (["bedplate", "show", str(folder), "--open"], "the report"),
    ]
    if found.ways[0].score.value == 0:  # nothing to serve
        del commands[0]
    console.say("")
    width = max(len(shlex.join(command)) for command, _ in commands)
    for command, purpose in commands:
        console.say(f"  {shlex.join(command):<{width}}  # {purpose}")
