"""What a stage counted or scored, shown in the form that each figure asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping

from bedplate.report.page import Cell, Page
from bedplate.report.plots import Bar, bar_plot

FEWEST_BARS, MOST_BARS = 3, 20


def add_measures(page: Page, measures: Mapping[str, object]) -> None:
    """Single figures in one table, groups of figures as bars or tables, anything deeper as JSON."""
    if not measures:
        return
    page.heading("Measures")
    page.facts({readable(name): scalar(value) for name, value in measures.items() if is_scalar(value)})
    for name, value in measures.items():
        if not is_scalar(value):
            page.heading(readable(name), level=3)
            _group(page, readable(name), value)


def _group(page: Page, name: str, value: object) -> None:
    if not value:
        page.text("None.")
    elif not isinstance(value, Mapping):
        page.code(_json(value))
    elif all(is_scalar(item) for item in value.values()):
        figures = {str(k): float(v) for k, v in value.items() if is_number(v)}
        if len(figures) == len(value) and FEWEST_BARS <= len(figures) <= MOST_BARS and min(figures.values()) >= 0:
            page.figure(bar_plot([Bar(k, v) for k, v in figures.items()], title=name, value_label=name))
        else:
            page.facts({str(k): scalar(v) for k, v in value.items()})
    elif all(isinstance(row, Mapping) and all(is_scalar(cell) for cell in row.values()) for row in value.values()):
        columns = list(dict.fromkeys(str(column) for row in value.values() for column in row))
        rows = [[str(key), *(scalar(row.get(column)) for column in columns)] for key, row in value.items()]
        page.table(["", *(readable(column) for column in columns)], rows)
    else:
        page.code(_json(value))


def flat(value: Mapping[str, object], prefix: str = "") -> dict[str, Cell]:
    """A configuration as dotted names and values, as a recipe's overrides spell them."""
    facts: dict[str, Cell] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping) and item:
            facts.update(flat(item, f"{name}."))
        elif is_number(item):
            facts[name] = _json(item)  # 0.0003 and 100000 as one would type them
        else:
            facts[name] = scalar(item) if is_scalar(item) else _json(item)
    return facts


def readable(name: str) -> str:
    """bytes_per_token -> bytes per token"""
    return name.replace("_", " ")


def is_number(value: object) -> bool:
    """A figure, and not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_scalar(value: object) -> bool:
    """Something that fits in a table's cell."""
    return value is None or isinstance(value, str | int | float | bool)


def scalar(value: object) -> Cell:
    """The value as a cell; whatever isn't one as JSON."""
    return value if value is None or isinstance(value, str | int | float | bool) else _json(value)


def _json(value: object) -> str:
    return json.dumps(value, indent=None if is_number(value) else 1, ensure_ascii=False, default=str)
