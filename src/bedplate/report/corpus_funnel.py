"""The funnel of a corpus: how many documents and bytes each stage left, why the others went, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bedplate.console.figures import bytes_text, duration
from bedplate.report.corpus_pieces import bar, key, share_text, whole
from bedplate.report.corpus_scan import LEFT_OUT, Count, Scan
from bedplate.report.markup import Markup
from bedplate.report.measures import readable
from bedplate.report.page import Cell, Page


def add_funnel(page: Page, measures: Mapping[str, Any], scan: Scan) -> None:
    """Nothing where the corpus doesn't say what its stages did."""
    stages: Mapping[str, Mapping[str, Any]] = measures.get("stages") or {}
    if not stages:
        return
    page.heading("What became of the documents")
    page.text(Markup(f"At each stage {key(1)} is what it kept, {key(2)} what it left out."))
    read = max(1, next(iter(stages.values()))["read"])
    lost = scan.groups[LEFT_OUT].by("stage", "left out")
    size = scan.total["kept"].bytes + scan.total["left out"].bytes
    rows: list[list[Cell]] = [
        [whole("all"), bar(1.0, 0.0), next(iter(stages.values()))["read"], None, None, bytes_text(size)]
    ]
    for name, stage in stages.items():
        dropped, failed = sum(stage["dropped"].values()), sum(stage["failed"].values())
        size -= lost.get(name, Count()).bytes
        drawn = bar(stage["kept"] / read, (dropped + failed) / read)
        rows.append(
            [whole(readable(name)), drawn, stage["kept"], dropped or None, failed or None, bytes_text(max(size, 0))]
        )
    headers = ["after", "", "documents", "dropped", "failed", "size"]
    page.table(headers, rows, right=["size"])
    page.text(
        "Sizes are of texts as they ended; of what was left out before it had one, of what was read. What stages cut "
        "out of texts isn't in them."
    )
    _drift(page, measures, scan)
    _reasons(page, stages, scan, read)
    _cost(page, stages)


def _drift(page: Page, measures: Mapping[str, Any], scan: Scan) -> None:
    kept = scan.total["kept"].documents
    if isinstance(measures.get("kept"), int) and measures["kept"] != kept:
        page.warning(f"The manifest counts {measures['kept']:,} documents kept, and the tables hold {kept:,}.")


def _reasons(page: Page, stages: Mapping[str, Mapping[str, Any]], scan: Scan, read: int) -> None:
    sizes = scan.groups[LEFT_OUT].counts["left out"]
    entries = [
        (n, stage, fate, reason)
        for stage, counts in stages.items()
        for fate in ("dropped", "failed")
        for reason, n in counts[fate].items()
    ]
    if not entries:
        return
    rows: list[list[Cell]] = []
    for n, stage, fate, reason in sorted(entries, key=lambda entry: (-entry[0], *entry[1:])):
        size = sizes.get((reason, stage, fate), Count()).bytes
        part: list[Cell] = [n, share_text(n, read), bytes_text(size)]
        rows.append([whole(readable(reason)), *part, whole(readable(stage)), whole(fate)])
    page.heading("Why documents were left out", level=3)
    headers = ["reason", "documents", "of all", "size", "stage", "fate"]
    page.table(headers, rows, caption="The first reason of each, most common first", right=["of all", "size"])


def _cost(page: Page, stages: Mapping[str, Mapping[str, Any]]) -> None:
    timed = {name: stage for name, stage in stages.items() if isinstance(stage.get("cpu_s"), int | float)}
    total = sum(stage["cpu_s"] for stage in timed.values())
    if not timed:
        return
    rows: list[list[Cell]] = []
    for name, stage in timed.items():
        each = f"{1000 * stage['cpu_s'] / stage['read']:.3g} ms" if stage["read"] else None
        part = stage["cpu_s"] / total if total else 0.0
        rows.append([whole(readable(name)), bar(part, 0.0), _time(stage["cpu_s"]), share_text(part, 1), each])
    rows.append(["together", None, _time(total), None, None])
    page.heading("What each stage cost", level=3)
    headers = ["stage", "", "CPU time", "of all", "each document read"]
    page.table(headers, rows, right=headers[2:])


def _time(seconds: float) -> str:
    return duration(seconds) if seconds >= 10 else f"{seconds:.2f} s"
