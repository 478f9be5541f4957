"""Documents and bytes of a corpus by where they are from, whose they are, and what was found in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bedplate.console.figures import bytes_text
from bedplate.report.corpus_pieces import share_text, whole
from bedplate.report.corpus_scan import Count, Groups, Key, Scan
from bedplate.report.corpus_tables import SIDES, Side
from bedplate.report.measures import is_number, readable
from bedplate.report.page import Cell, Page

MOST_GROUPS, MOST_DOMAINS = 20, 10
NOT_KNOWN = "not known"

SPLITS, LICENCES = ("label", "split"), ("license", "license_evidence")
OPT_OUTS, ITEMS = ("opt_out",), ("contaminated_items",)
PERSONAL, ALL_PERSONAL = "personal_", "personal_data"

GROUPINGS = (SPLITS, ("split",), LICENCES, ("language",), ("language_detected",), ("domain",), OPT_OUTS, ITEMS)
"""What of a corpus is counted for these tables."""


def add_groups(page: Page, scan: Scan, by_source: Mapping[str, Count]) -> None:
    """by_source: of a corpus whose documents don't have their source's label as a column."""
    if SPLITS in scan.groups:
        _splits(page, scan.groups[SPLITS])
    else:
        _table(page, "split", _one(scan, "split"), {})
        _table(page, "source", {(name,): count for name, count in by_source.items()}, {})
    if LICENCES in scan.groups:
        _licences(page, scan.groups[LICENCES])
    declared = "language declared" if ("language_detected",) in scan.groups else "language"
    for column, title in (("language", declared), ("language_detected", "language detected")):
        if any(key != (None,) for side in SIDES for key in _one(scan, column, side)):
            _table(page, title, *_both(scan, column))
    if any(key != (None,) for key in _one(scan, "domain")):
        _table(page, "domain", *_both(scan, "domain"), most=MOST_DOMAINS, trimmed=scan.groups[("domain",)].trimmed)


def add_findings(page: Page, measures: Mapping[str, Any], scan: Scan) -> None:
    """Opt-outs, personal data, evaluation items, and the mixture: each where the curation looked for it."""
    if OPT_OUTS in scan.groups:
        _named(page, "Opt-outs", "signal", scan.groups[OPT_OUTS], lambda value: value.split(", "), "None was found.")
    _personal(page, scan)
    if ITEMS in scan.groups:
        _named(page, "Evaluation items", "task", scan.groups[ITEMS], _tasks, "No document held any.")
        _items(page, measures)
    mixture = (measures.get("joint") or {}).get("mix")
    if isinstance(mixture, Mapping):
        _mixture(page, mixture)


def add_table(page: Page, headers: Sequence[str], rows: list[list[Cell]], caption: str, right: Sequence[str]) -> None:
    """A table whose rows beyond the first few are folded away."""
    page.table(headers, rows[:MOST_GROUPS], caption=caption, right=right)
    if rows[MOST_GROUPS:]:
        inside = Page("")
        inside.table(headers, rows[MOST_GROUPS : 20 * MOST_GROUPS], right=right)
        page.fold(f"the others of {caption}", inside)


def _tasks(value: str) -> list[str]:
    """The tasks of "mmlu 3,17-20; gsm8k 7"."""
    return [part.rpartition(" ")[0] for part in value.split("; ")]


def _one(scan: Scan, column: str, side: Side = "kept") -> dict[Key, Count]:
    groups = scan.groups.get((column,))
    return {} if groups is None else groups.counts[side]


def _both(scan: Scan, column: str) -> tuple[dict[Key, Count], dict[Key, Count]]:
    return _one(scan, column), _one(scan, column, "left out")


def _table(
    page: Page,
    title: str,
    kept: Mapping[Key, Count],
    lost: Mapping[Key, Count],
    *,
    most: int = MOST_GROUPS,
    trimmed: bool = False,
) -> None:
    keys = sorted({*kept, *lost}, key=lambda key: (-_of(kept, key).bytes, -_of(lost, key).documents, _text(key)))
    if not keys:
        return
    rows: list[list[Cell]] = [_row([whole(_text(key))], [key], kept, lost) for key in keys[:most]]
    rest = keys[most:]
    if rest:
        rows.append(_row([f"{len(rest):,} others"], rest, kept, lost))
    caption = f"By {title}, largest first{'; rare ones are counted in part' if trimmed else ''}"
    headers = [title, "documents", "size", *(["left out"] if lost else [])]
    page.table(headers, [row if lost else row[:3] for row in rows], caption=caption, right=["size"])


def _row(name: list[Cell], keys: Sequence[Key], kept: Mapping[Key, Count], lost: Mapping[Key, Count]) -> list[Cell]:
    documents, size = sum(_of(kept, key).documents for key in keys), sum(_of(kept, key).bytes for key in keys)
    return [*name, documents, bytes_text(size), sum(_of(lost, key).documents for key in keys)]


def _of(counts: Mapping[Key, Count], key: Key) -> Count:
    return counts.get(key) or Count()


def _text(key: Key) -> str:
    return NOT_KNOWN if key[0] is None else key[0]


def _splits(page: Page, groups: Groups) -> None:
    kept, lost = groups.counts["kept"], groups.by("label", "left out")
    labels = groups.by("label", "kept")
    splits = [split or NOT_KNOWN for split in sorted(groups.by("split", "kept"), key=str)]
    rows: list[list[Cell]] = []
    for label in sorted({*labels, *lost}, key=lambda name: (-(labels.get(name) or Count()).bytes, str(name))):
        cells: list[Cell] = []
        for split in splits:
            count = _of(kept, (label, None if split == NOT_KNOWN else split))
            cells += [count.documents, bytes_text(count.bytes)]
        rows.append([whole(label or NOT_KNOWN), *cells, (lost.get(label) or Count()).documents])
    totals: list[Cell] = []
    for split in splits:
        count = groups.by("split", "kept")[None if split == NOT_KNOWN else split]
        totals += [count.documents, bytes_text(count.bytes)]
    rows.append(["together", *totals, sum(count.documents for count in lost.values())])
    headers = ["source", *(name for split in splits for name in (split, f"size of {split}")), "left out"]
    page.table(headers, rows, caption="Documents by source and split", right=headers[2::2])


def _licences(page: Page, groups: Groups) -> None:
    kept, lost = groups.counts["kept"], groups.counts["left out"]
    evidence = any(key[1] is not None for key in {*kept, *lost})
    if not evidence:
        _table(page, "license", _first(kept), _first(lost))
        return
    keys = sorted({*kept, *lost}, key=lambda key: (-_of(kept, key).bytes, -_of(lost, key).documents, str(key)))
    rows: list[list[Cell]] = []
    for key in keys:
        rows.append(_row([whole(_text(key)), key[1]], [key], kept, lost))
    headers = ["license", "evidence", "documents", "size", "left out"]
    add_table(page, headers, rows, "By license and what says so, largest first", ["size"])


def _first(counts: Mapping[Key, Count]) -> dict[Key, Count]:
    found: dict[Key, Count] = {}
    for key, count in counts.items():
        found.setdefault(key[:1], Count()).add(count)
    return found


def _named(page: Page, title: str, name: str, groups: Groups, parts: Callable[[str], list[str]], none: str) -> None:
    """Documents by what a column names, of which it may name several."""
    kept, lost = Counter[str](), Counter[str]()
    for found, counts in ((kept, groups.counts["kept"]), (lost, groups.counts["left out"])):
        for (value, *_), count in counts.items():
            for part in dict.fromkeys(parts(value)) if value else ():
                found[part] += count.documents
    page.heading(title, level=3)
    if not kept and not lost:
        page.text(none)
        return
    order = sorted({*kept, *lost}, key=lambda part: (-kept[part] - lost[part], part))
    add_table(
        page, [name, "documents kept", "left out"], [[whole(p), kept[p], lost[p]] for p in order], f"By {name}", []
    )


def _items(page: Page, measures: Mapping[str, Any]) -> None:
    """How many items of each task there are, were long enough to be looked for, and were found."""
    tasks = (measures.get("decontaminate") or {}).get("tasks") or {}
    names = ("items", "covered", "touched", "documents")
    rows: list[list[Cell]] = [[whole(str(task)), *(found.get(n) for n in names)] for task, found in tasks.items()]
    if rows:
        headers = ["task", "items", "looked for", "found", "documents"]
        add_table(page, headers, rows, "Items by task, and the documents that held some", [])


def _personal(page: Page, scan: Scan) -> None:
    columns = [column for name, column in scan.numbers.items() if name.startswith(PERSONAL)]
    if not columns:
        return
    rows: list[list[Cell]] = []
    for column in sorted(columns, key=lambda c: c.name == ALL_PERSONAL):
        kept, lost = column.sides["kept"], column.sides["left out"]
        name = "together" if column.name == ALL_PERSONAL else readable(column.name.removeprefix(PERSONAL))
        rows.append([whole(name), kept.some, int(kept.sum), lost.some, int(lost.sum)])
    page.heading("Personal data", level=3)
    page.text("What was found in the texts as they were read; what was masked is no longer in them.")
    page.table(["kind", "documents kept", "found in them", "documents left out", "found in them "], rows)


def _mixture(page: Page, mixture: Mapping[str, Any]) -> None:
    rows: list[list[Cell]] = []
    for label, portion in mixture.items():
        if isinstance(portion, Mapping) and is_number(portion.get("epochs")):
            figures = {key: value for key, value in portion.items() if is_number(value)}
            rows.append(
                [
                    whole(str(label)),
                    bytes_text(figures.get("bytes", 0)),
                    round(figures.get("tokens", 0)),
                    f"{figures['epochs']:.2f}" + (" (the most)" if portion.get("capped") else ""),
                    round(figures.get("mixed_tokens", 0)),
                    share_text(figures.get("share", 0.0), 1),
                ]
            )
    if rows:
        page.heading("The mixture", level=3)
        headers = ["source", "training text", "tokens", "times an epoch", "tokens an epoch", "share"]
        page.table(headers, rows, caption="Tokens are estimated", right=["training text", "times an epoch", "share"])
