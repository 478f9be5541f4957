"""A configuration of filters as one table of rules, and whether the columns that these look at are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bedplate.config import Config
from bedplate.config.nearest import nearest
from bedplate.data.filters.config import FiltersConfig, Rule
from bedplate.data.signals.columns import ALL_COLUMNS
from bedplate.errors import UserError

LANGUAGE = "language_detected"
LANGUAGE_RULE = "language"

# Preset -> rules' names -> column; a rule's bounds are the preset's fields min_NAME and max_NAME.
_COLUMNS = {
    "gopher_quality": {
        "words": "words",
        "mean_word_length": "mean_word_length",
        "hash_ratio": "hash_ratio",
        "ellipsis_ratio": "ellipsis_ratio",
        "bullet_lines": "bullet_line_fraction",
        "ellipsis_lines": "ellipsis_line_fraction",
        "alphabetic_words": "alphabetic_word_fraction",
        "stop_words": "stop_words",
    },
    "gopher_repetition": {
        "duplicate_lines": "duplicate_line_fraction",
        "duplicate_line_characters": "duplicate_line_character_fraction",
        "duplicate_paragraphs": "duplicate_paragraph_fraction",
        "duplicate_paragraph_characters": "duplicate_paragraph_character_fraction",
        **{f"top_{n}_gram": f"top_{n}_gram_character_fraction" for n in (2, 3, 4)},
        **{f"duplicate_{n}_grams": f"duplicate_{n}_gram_character_fraction" for n in (5, 6, 7, 8, 9, 10)},
    },
    "c4": {"sentences": "c4_sentences", "curly_brackets": "curly_brackets", "lorem_ipsum": "lorem_ipsum"},
    "fineweb": {
        "punctuated_lines": "punctuated_line_fraction",
        "short_lines": "short_line_fraction",
        "duplicate_line_characters": "duplicate_line_character_fraction",
        "newline_ratio": "newline_ratio",
    },
}
_PREFIX = {"gopher_quality": "gopher", "gopher_repetition": "gopher", "c4": "c4", "fineweb": "fineweb"}
_NUMBERS = ("bool", "int", "uint", "float", "double", "halffloat")


@dataclass(frozen=True)
class OneOf:
    """The rule that a column of strings holds one of some values."""

    column: str
    values: tuple[str, ...]
    name: str


def rules_of(config: FiltersConfig) -> list[Rule | OneOf]:
    """Every rule, in the order in which they are tried."""
    rules: list[Rule | OneOf] = []
    if config.languages:
        rules.append(OneOf(LANGUAGE, config.languages, LANGUAGE_RULE))
        if config.min_language_score > 0:
            rules.append(Rule(column="language_score", min=config.min_language_score, reason="language_score"))
    for preset in _COLUMNS:
        if (section := getattr(config, preset)) is not None:
            rules += _preset(preset, section)
    return [*rules, *config.rules]


def _preset(preset: str, section: Config) -> Iterator[Rule]:
    for name, column in _COLUMNS[preset].items():
        least, most = getattr(section, f"min_{name}", None), getattr(section, f"max_{name}", None)
        if least is not None or most is not None:
            yield Rule(column=column, min=least, max=most, reason=f"{_PREFIX[preset]}_{name}")


def required_columns(config: FiltersConfig) -> tuple[str, ...]:
    """The columns that the rules look at, each once, in the rules' order."""
    return tuple(dict.fromkeys(rule.column for rule in rules_of(config)))


def check_columns(config: FiltersConfig, available: Mapping[str, str]) -> None:
    """Raise UserError for a rule on a column that isn't there, or isn't of numbers. `available`: {column: type}."""
    numbers = {name: kind for name, kind in available.items() if kind.startswith(_NUMBERS)}
    for rule in rules_of(config):
        fitting = available if isinstance(rule, OneOf) else numbers
        if rule.column in fitting:
            continue
        problem = f"filters: the rule {rule.name} is on the column {rule.column}, which "
        if rule.column in available:
            raise UserError(problem + "holds text, not numbers", f"Columns of numbers: {', '.join(numbers)}.")
        near = nearest(rule.column, {**ALL_COLUMNS, **fitting})
        raise UserError(
            problem + "no step measures" + (f"; nearest: {near}" if near else ""),
            "Correct the name (docs/data.md lists the signals), or turn on the step that measures it.",
        )
