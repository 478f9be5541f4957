"""The step of curation that leaves documents out by their columns: `step`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bedplate.data.documents import Document, Value
from bedplate.data.filters.config import FiltersConfig, Rule
from bedplate.data.filters.lines import clean
from bedplate.data.filters.rules import OneOf, check_columns, rules_of

if TYPE_CHECKING:
    from bedplate.data.curation.step import Step

FAILED_RULES = "failed_rules"
LINES_REMOVED = "c4_lines_removed"


class Filters:
    """Tries every rule on each document, and drops it for the first that it fails."""

    name = "filters"

    def __init__(self, config: FiltersConfig) -> None:
        self._rules = [(rule, bounds_of(rule)) for rule in rules_of(config)]
        self._lines = config.c4_lines
        self.columns: Mapping[str, str] = {FAILED_RULES: "string"} | ({LINES_REMOVED: "int32"} if self._lines else {})

    def __call__(self, documents: list[Document]) -> None:
        for document in documents:
            failures = [
                (rule.name, detail)
                for rule, bounds in self._rules
                if (detail := failure(rule, bounds, document.columns.get(rule.column))) is not None
            ]
            document.columns[FAILED_RULES] = ",".join(name for name, _ in failures)
            if failures:
                document.drop(self.name, *failures[0])
            elif self._lines and document.text is not None:
                self._clean(document)

    def _clean(self, document: Document) -> None:
        text, removed = clean(document.text or "")
        document.columns[LINES_REMOVED] = removed
        if text:
            document.text = text
        else:
            document.drop(self.name, "c4_no_lines", "no line is left by C4's rules for lines")


def step(config: FiltersConfig, available: Mapping[str, str] | None = None) -> Step:
    """The step. `available`: the columns that steps before it set, {name: type}; with them, as `check_columns`."""
    if available is not None:
        check_columns(config, available)
    return Filters(config)


Bounds = tuple[float, float]


def bounds_of(rule: Rule | OneOf) -> Bounds:
    """The rule's bounds as float32, as fractions are stored: what is stored as 0.3 isn't over 0.3."""
    if isinstance(rule, OneOf):
        return 0.0, 0.0
    return (
        -np.inf if rule.min is None else float(np.float32(rule.min)),
        np.inf if rule.max is None else float(np.float32(rule.max)),
    )


def failure(rule: Rule | OneOf, bounds: Bounds, value: Value) -> str | None:
    """Why the value fails the rule: "words 31 is under 50"; None where it passes."""
    if isinstance(rule, OneOf):
        return None if value in rule.values else f"{rule.column} {value} is none of {', '.join(rule.values)}"
    if value is None or isinstance(value, str) or value != value:
        return f"{rule.column} is missing" if rule.missing == "drop" else None
    number = float(np.float32(value)) if isinstance(value, float) else value
    if number < bounds[0]:
        return f"{rule.column} {_shown(value)} is under {_shown(rule.min)}"
    if number > bounds[1]:
        return f"{rule.column} {_shown(value)} is over {_shown(rule.max)}"
    return None


def _shown(number: float | None) -> str:
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    return f"{number:.4g}" if isinstance(number, float) else str(number)
