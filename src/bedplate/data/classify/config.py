"""Settings of the features and of one classifier in a recipe."""

from __future__ import annotations

from typing import Annotated, Self, TypeAlias

from pydantic import Field, StringConstraints, model_validator

from bedplate.config import Config

ColumnName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class Features(Config):
    """What of a text a classifier sees: hashed runs of words and of characters, in lower case."""

    words: int = Field(2, ge=0, le=5, description="Longest run of words; 1 is single words, 0 none at all.")
    characters: tuple[int, int] | None = Field(
        None,
        description="Shortest and longest run of characters within words, such as [3, 5]: sees through spelling, at "
        "about a third of the speed. Default none.",
    )
    buckets: int = Field(1 << 20, ge=1 << 8, le=1 << 24, description="Numbers that runs are hashed to; a power of two.")
    longest: int = Field(
        65_536, ge=256, le=1 << 20, description="Characters of a document that are looked at, from its beginning."
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.buckets & (self.buckets - 1):
            raise ValueError(f"buckets {self.buckets}: not a power of two")
        if self.characters is not None and not 2 <= self.characters[0] <= self.characters[1] <= 8:
            raise ValueError(f"characters {list(self.characters)}: give two lengths, 2 <= shortest <= longest <= 8")
        if not self.words and self.characters is None:
            raise ValueError("neither words nor characters: nothing to see")
        return self


class ClassifierConfig(Config):
    """A classifier, and by the name that it has in the recipe the column that it fills."""

    filter: str = Field(description="The folder of a `filter` artefact, as `bedplate train-filter` makes it.")
