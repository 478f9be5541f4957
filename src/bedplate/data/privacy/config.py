"""What to do about personal data: the `privacy` section of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import Field, field_validator, model_validator

from bedplate.config import Config
from bedplate.data.privacy.kinds import KINDS, Action, Kind

COUNTRIES = (
    "AU", "BE", "BR", "CA", "CH", "CL", "CN", "DE", "ES", "FI", "FR", "GB", "IE", "IN", "IT", "KR", "MX", "NL", "NO",
    "PL", "SE", "TR", "US", "ZA",
)  # fmt: skip
"""Whose national numbers are known, by ISO 3166 code."""


class PresidioConfig(Config):
    """Microsoft Presidio beside our own rules: names and places, by a spaCy model that you have installed."""

    language: str = Field("en", min_length=2, description="The language of the texts, as Presidio and spaCy name it.")
    model: str | None = Field(
        None,
        description="An installed spaCy model's name or folder, such as en_core_web_sm. Without one there are no names "
        "and places, only what Presidio's patterns find.",
    )
    entities: tuple[str, ...] = Field(
        ("PERSON", "LOCATION", "US_DRIVER_LICENSE", "US_PASSPORT", "MEDICAL_LICENSE"),
        min_length=1,
        description="What to look for, by Presidio's names.",
    )
    least_score: float = Field(0.5, ge=0, le=1, description="Findings of a lower score don't count.")

    @field_validator("entities")
    @classmethod
    def _offline(cls, entities: tuple[str, ...]) -> tuple[str, ...]:
        online = sorted({"EMAIL_ADDRESS", "URL"} & set(entities))
        if online:
            raise ValueError(f"{', '.join(online)}: Presidio fetches a list of domains; our kind email needs none")
        return entities


class PrivacyConfig(Config):
    """Which kinds of personal data to look for, and what becomes of each.

    A document's columns `personal_<kind>` count what its text held before anything was masked, `personal_data` all
    together. Whatever else is written of a document, kept or left out, is masked likewise but not counted: title,
    metadata with its names and numbers, excerpt, address, source, licence, group.
    """

    action: Action = Field(
        "mask",
        description="For every kind that `actions` doesn't name: mask (a placeholder such as <EMAIL> instead), drop "
        "(the document), detect (count only), off (don't look).",
    )
    actions: Mapping[Kind, Action] = Field(
        default_factory=dict, description=f"The action of single kinds: {', '.join(KINDS)}."
    )
    drop_from: int = Field(
        1, ge=1, description="Findings of one `drop` kind from which a document is dropped; fewer are masked."
    )
    private_addresses: bool = Field(
        False, description="Count IP addresses of private, loopback and documentation ranges too."
    )
    countries: tuple[str, ...] = Field(
        COUNTRIES, description="Whose national numbers to look for, by ISO 3166 code; default all that are known."
    )
    presidio: PresidioConfig | None = Field(
        None, description="Look with Presidio too (extra `presidio`); its findings are the kind presidio."
    )

    @field_validator("countries")
    @classmethod
    def _known(cls, countries: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(countries) - set(COUNTRIES))
        if unknown:
            raise ValueError(f"no rule for the national numbers of {', '.join(unknown)}; known: {', '.join(COUNTRIES)}")
        return tuple(sorted(set(countries)))

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if "presidio" in self.actions and self.presidio is None:
            raise ValueError("actions.presidio without a section presidio: add one, such as presidio: {language: en}")
        if not self.wanted:
            raise ValueError("every kind is off; leave the section out instead")
        return self

    @property
    def wanted(self) -> dict[Kind, Action]:
        """The kinds that are looked for, in order of priority, with their action."""
        possible = [kind for kind in KINDS if kind != "presidio" or self.presidio is not None]
        chosen = {kind: self.actions.get(kind, self.action) for kind in possible}
        return {kind: action for kind, action in chosen.items() if action != "off"}
