"""What of `signals` can be set: which families are measured, and with what language is told and text predicted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from bedplate.config import Config
from bedplate.data.signals.columns import (
    ALL_COLUMNS,
    FAMILIES,
    FAMILY_COLUMNS,
    LANGUAGE_COLUMNS,
    PERPLEXITY_COLUMNS,
    Family,
    families_of,
)
from bedplate.errors import UserError


class LanguageConfig(Config):
    """How a document's language is told."""

    detector: Literal["fasttext", "resiliparse"] = Field(
        "fasttext",
        description="fasttext: lid.176, 176 languages, its score a probability; resiliparse: about ten times as fast, "
        "its score the nearness of letter frequencies.",
    )
    characters: int = Field(1000, ge=20, description="How much of the document's beginning is looked at.")


class PerplexityConfig(Config):
    """A language model that says how predictable a document is."""

    model: str = Field(description="A folder or artefact of a language model with its tokenizer: what `load` takes.")
    tokens: int = Field(512, ge=8, description="How many tokens of the document's beginning are predicted.")


class SignalsConfig(Config):
    """What is measured of every document."""

    families: tuple[Family, ...] = Field(
        tuple(family for family in FAMILIES if family != "mentions"),
        description="characters: statistics of characters; quality and repetition: Gopher's; c4; fineweb; mentions: "
        "how often groups of people are named, in English.",
    )
    language: LanguageConfig | None = Field(LanguageConfig(), description="How language is told; null: it isn't.")
    perplexity: PerplexityConfig | None = Field(None, description="Predictability under a language model.")
    longest: int = Field(
        1 << 20,
        ge=1000,
        description="Documents of more characters are measured by so many of their first ones, which bounds memory; "
        "only `characters` counts all.",
    )

    @property
    def columns(self) -> dict[str, str]:
        """{column: pyarrow alias} of what is measured, in a fixed order."""
        tables = [FAMILY_COLUMNS[family] for family in FAMILIES if family in self.families]
        if self.language is not None:
            tables.append(LANGUAGE_COLUMNS)
        if self.perplexity is not None:
            tables.append(PERPLEXITY_COLUMNS)
        return {name: alias for table in tables for name, (alias, _) in table.items()}


def with_columns(config: SignalsConfig | None, columns: Iterable[str]) -> SignalsConfig | None:
    """The configuration with what these columns need turned on; None where it was None and nothing is needed.

    Columns that aren't signals are passed over. Raises UserError for a column that needs a model to be named.
    """
    have = {} if config is None else config.columns
    missing = [name for name in columns if name in ALL_COLUMNS and name not in have]
    if not missing:
        return config
    if any(name in PERPLEXITY_COLUMNS for name in missing):
        raise UserError(
            "perplexity_bits_per_byte is asked for, and no model is named that measures it",
            "Set signals.perplexity.model to a language model's folder.",
        )
    if config is None:
        config = SignalsConfig(families=(), language=None)
    needed = {*config.families, *families_of(missing)}
    language = config.language
    if language is None and any(name in LANGUAGE_COLUMNS for name in missing):
        language = LanguageConfig()
    return config.model_copy(
        update={"families": tuple(family for family in FAMILIES if family in needed), "language": language}
    )
