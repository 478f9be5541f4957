"""The tables of the curation benchmark, as Markdown: CPU time, memory and what was kept, with ratios round by round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

NAMES = ("bedplate", "datatrove")
HEAD = (
    "stage",
    "documents",
    "Bedplate, CPU ms/document",
    "datatrove",
    "times as fast",
    "whole commands",
    "peak MB, ours",
    "theirs",
    "kept, ours",
    "theirs",
)


@dataclass(frozen=True)
class Measurement:
    """One process. Seconds and bytes; `steps` are parts of `stage_s`; `foreign` is others' share of the machine."""

    case: str
    contestant: str
    round: int
    documents: int
    kept: int
    stage_s: float
    command_s: float
    wall_s: float
    peak: int
    memory: str
    foreign: float | None
    steps: dict[str, float]


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} - {max(values):{form}})"


def ratios(rounds: list[Measurement], case: str, value: Callable[[Measurement], float]) -> list[float]:
    """Theirs / ours, round by round; the whole pair of a round has to be there."""
    found = []
    for number in sorted({m.round for m in rounds}):
        pair = {m.contestant: value(m) for m in rounds if (m.case, m.round) == (case, number)}
        if len(pair) == 2 and pair["bedplate"] > 0:
            found.append(pair["datatrove"] / pair["bedplate"])
    return found


def stage_ms(m: Measurement) -> float:
    return 1000 * m.stage_s / m.documents


def command_ms(m: Measurement) -> float:
    return 1000 * m.command_s / m.documents


def markdown(rounds: list[Measurement], comparison: dict[str, Any]) -> str:
    """The result as Markdown."""
    out = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    for case in dict.fromkeys(m.case for m in rounds):
        groups = {name: [m for m in rounds if (m.case, m.contestant) == (case, name)] for name in NAMES}
        mine, theirs = groups["bedplate"], groups["datatrove"]
        cells = [case, f"{(mine or theirs)[0].documents:,}"]
        cells += [spread([stage_ms(m) for m in group], ".2f") if group else "" for group in (mine, theirs)]
        for value in (stage_ms, command_ms):
            found = ratios(rounds, case, value)
            cells.append(spread(found, ".1f") if found else "")
        cells += [spread([m.peak / 1e6 for m in group]) if group else "" for group in (mine, theirs)]
        cells += [f"{group[-1].kept:,}" if group else "" for group in (mine, theirs)]
        out.append(f"| {' | '.join(cells)} |")
    out += ["", "| stage | contestant | part | CPU ms/document |", "|---|---|---|---|"]
    for case in dict.fromkeys(m.case for m in rounds):
        for name in NAMES:
            group = [m for m in rounds if (m.case, m.contestant) == (case, name)]
            for part in group[0].steps if group else ():
                values = [1000 * m.steps[part] / m.documents for m in group]
                out.append(f"| {case} | {name} | {part} | {spread(values, '.2f')} |")
    for case, found in comparison.items():
        out += ["", f"{case}:", "", *told(found)]
    return "\n".join(out) + "\n"


def told(found: dict[str, Any]) -> list[str]:
    """A comparison as Markdown lines."""
    if "rules" in found:
        head = ["| rule | both object | only ours | only theirs | agreement |", "|---|---|---|---|---|"]
        rows = [
            f"| {rule} | {r['both']} | {r['only ours']} | {r['only theirs']} | {r['agreement']:.2%} |"
            for rule, r in found["rules"].items()
        ]
        return [f"Kept: {found['documents']}", "", *head, *rows]
    if "copies" in found:
        rows = [
            f"| {name} | {kind} | {k['planted']} | {k['recall']:.3f} | {k['expected']:.3f} | {c['precision']:.4f} |"
            for name, c in found["copies"].items()
            for kind, k in c["kinds"].items()
        ]
        head = [
            "| contestant | copies | planted | recall | expected of 14 x 8 | precision of all |",
            "|---|---|---|---|---|---|",
        ]
        return [f"Kept: {found['documents']}", "", *head, *rows]
    head = ["| contestant | F1 | precision | recall | pages with text |", "|---|---|---|---|---|"]
    return head + [
        f"| {name} | {s['f1']:.3f} | {s['precision']:.3f} | {s['recall']:.3f} | {s['extracted']} |"
        for name, s in found.items()
    ]
