"""What the columns of a corpus say, and the bounds that its recipe had on them, for its page."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from bedplate.data.filters.config import FiltersConfig, Rule
from bedplate.data.filters.rules import rules_of
from bedplate.data.signals.columns import FAMILY_COLUMNS, LANGUAGE_COLUMNS, PERPLEXITY_COLUMNS
from bedplate.report.corpus_notes import Bound, ColumnNote

_FAMILIES: dict[str, Mapping[str, tuple[str, str]]] = {
    **{str(family): columns for family, columns in FAMILY_COLUMNS.items()},
    "language": LANGUAGE_COLUMNS,
    "perplexity": PERPLEXITY_COLUMNS,
}


def column_notes(config: Mapping[str, object]) -> dict[str, ColumnNote]:
    """By column. config: that of a `curate` artefact; of one that can't be read any more there are no bounds."""
    bounds: dict[str, list[Bound]] = {}
    try:
        filters = FiltersConfig.model_validate(config.get("filters") or {})
    except ValidationError:
        filters = FiltersConfig()
    for rule in rules_of(filters):
        if isinstance(rule, Rule):
            bounds.setdefault(rule.column, []).append(Bound(rule.name, rule.min, rule.max))
    notes = {column: ColumnNote(bounds=tuple(found)) for column, found in bounds.items()}
    for family, columns in _FAMILIES.items():
        for column, (_, description) in columns.items():
            if column not in notes or not notes[column].family:
                notes[column] = ColumnNote(description, family, tuple(bounds.get(column, ())))
    return notes
