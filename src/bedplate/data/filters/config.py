"""Thresholds over columns: known sets of them, languages, and the user's own.

Each set's thresholds are its paper's, and each can be set otherwise, or to null, which takes it out. They were found
for English.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from bedplate.config import Config

T = TypeVar("T")


def _switch(value: object) -> object:
    """`true` is a set as it stands, `false` none."""
    return ({} if value else None) if isinstance(value, bool) else value


def _bound(default: float | None, description: str) -> float | None:
    bound: float | None = Field(default, description=description)
    return bound


class Rule(Config):
    """A column's bounds. A document fails that lies outside; exactly on a bound is inside."""

    column: str = Field(description="A column of numbers, of signals or of any other step.")
    min: float | None = Field(None, description="What it must at least be.")
    max: float | None = Field(None, description="What it must at most be.")
    reason: str = Field(
        "",
        pattern=r"^[a-z0-9_]*$",
        description="What a document that fails is counted under: lower case and underscores; default: the column.",
    )
    missing: Literal["keep", "drop"] = Field(
        "keep", description="What becomes of documents that have no such number, or NaN."
    )

    @model_validator(mode="after")
    def _bounded(self) -> Rule:
        if self.min is None and self.max is None:
            raise ValueError(f"the rule on {self.column} has neither min nor max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"the rule on {self.column} lets nothing through: min {self.min:g}, max {self.max:g}")
        return self

    @property
    def name(self) -> str:
        return self.reason or self.column


class GopherQuality(Config):
    """Rae et al. 2021, arXiv 2112.11446, appendix A.1.1."""

    min_words: float | None = _bound(50, "Words, at least.")
    max_words: float | None = _bound(100_000, "Words, at most.")
    min_mean_word_length: float | None = _bound(3, "Characters a word, at least.")
    max_mean_word_length: float | None = _bound(10, "Characters a word, at most.")
    max_hash_ratio: float | None = _bound(0.1, "Number signs for each word, at most.")
    max_ellipsis_ratio: float | None = _bound(0.1, "Ellipses for each word, at most.")
    max_bullet_lines: float | None = _bound(0.9, "Share of lines that begin with a bullet, at most.")
    max_ellipsis_lines: float | None = _bound(0.3, "Share of lines that end in an ellipsis, at most.")
    min_alphabetic_words: float | None = _bound(0.8, "Share of words with a letter, at least.")
    min_stop_words: float | None = _bound(2, "How many different ones of eight English stop words, at least.")


class GopherRepetition(Config):
    """Rae et al. 2021, arXiv 2112.11446, table A1."""

    max_duplicate_lines: float | None = _bound(0.3, "Share of lines that came before.")
    max_duplicate_line_characters: float | None = _bound(0.2, "Share of characters in lines that came before.")
    max_duplicate_paragraphs: float | None = _bound(0.3, "Share of paragraphs that came before.")
    max_duplicate_paragraph_characters: float | None = _bound(
        0.2, "Share of characters in paragraphs that came before."
    )
    max_top_2_gram: float | None = _bound(0.2, "Share of characters in the most common 2-gram.")
    max_top_3_gram: float | None = _bound(0.18, "Share of characters in the most common 3-gram.")
    max_top_4_gram: float | None = _bound(0.16, "Share of characters in the most common 4-gram.")
    max_duplicate_5_grams: float | None = _bound(0.15, "Share of characters in 5-grams that came before.")
    max_duplicate_6_grams: float | None = _bound(0.14, "Share of characters in 6-grams that came before.")
    max_duplicate_7_grams: float | None = _bound(0.13, "Share of characters in 7-grams that came before.")
    max_duplicate_8_grams: float | None = _bound(0.12, "Share of characters in 8-grams that came before.")
    max_duplicate_9_grams: float | None = _bound(0.11, "Share of characters in 9-grams that came before.")
    max_duplicate_10_grams: float | None = _bound(0.1, "Share of characters in 10-grams that came before.")


class C4(Config):
    """Raffel et al. 2020, arXiv 1910.10683, section 2.2: what it says of pages. What it says of lines is `c4_lines`."""

    min_sentences: float | None = _bound(5, "Sentences in the lines that C4's rules for lines keep, at least.")
    max_curly_brackets: float | None = _bound(0, "Opening curly brackets: pages that have some are code.")
    max_lorem_ipsum: float | None = _bound(0, "Lines with lorem ipsum.")


class FineWeb(Config):
    """Penedo et al. 2024, arXiv 2406.17557, section 3.6."""

    min_punctuated_lines: float | None = _bound(0.12, "Share of lines that end in punctuation, at least.")
    max_short_lines: float | None = _bound(0.67, "Share of lines of up to 30 characters, at most.")
    max_duplicate_line_characters: float | None = _bound(
        0.01, "Share of characters in lines that came before, at most."
    )
    max_newline_ratio: float | None = _bound(0.3, "Line breaks for each word, at most.")


class FiltersConfig(Config):
    """Which documents are left out, by columns. All rules are tried on each; the first that it fails is its reason.

    Rules are tried in the order: languages, gopher_quality, gopher_repetition, c4, fineweb, rules.
    """

    languages: tuple[Annotated[str, StringConstraints(pattern="^[a-z]{2,3}$")], ...] = Field(
        (), description="Languages to keep, by their codes (ISO 639): [en, de]; none named: all."
    )
    min_language_score: float = Field(
        0.65, ge=0, le=1, description="How sure the language must be; counts where `languages` are named."
    )
    gopher_quality: Annotated[GopherQuality | None, BeforeValidator(_switch)] = Field(
        None, description="Gopher's rules of quality: true, or thresholds."
    )
    gopher_repetition: Annotated[GopherRepetition | None, BeforeValidator(_switch)] = Field(
        None, description="Gopher's rules of repetition: true, or thresholds."
    )
    c4: Annotated[C4 | None, BeforeValidator(_switch)] = Field(None, description="C4's rules: true, or thresholds.")
    fineweb: Annotated[FineWeb | None, BeforeValidator(_switch)] = Field(
        None, description="FineWeb's rules: true, or thresholds."
    )
    rules: tuple[Rule, ...] = Field((), description="Your own rules: column, min, max, reason.")
    c4_lines: bool = Field(
        False,
        description="Take lines out of the documents that are kept, as C4 does: those without a terminal mark, with "
        "fewer than three words, about JavaScript, cookies or terms of use. Columns are of the text before that.",
    )

    @model_validator(mode="after")
    def _distinct(self) -> FiltersConfig:
        from bedplate.data.filters.rules import rules_of

        names = [rule.name for rule in rules_of(self)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two rules are called {twice[0]!r}; give one another `reason`")
        return self
