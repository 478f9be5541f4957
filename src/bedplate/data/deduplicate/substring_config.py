"""`SubstringConfig`: how long a run of words must be to count as repeated, and what becomes of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from bedplate.config import Config


class SubstringConfig(Config):
    """Runs of words that occurred before, in an earlier document that stays or earlier in the same one. The first in
    the corpus's order stays in any case: `keep` of the other sections has no say here."""

    words: int = Field(
        50,
        ge=10,
        le=1000,
        description="A run of at least so many words that occurred before is repeated. A word is what stands between "
        "white space, or one character of a script that is written without (Chinese, Japanese, Thai, ...).",
    )
    action: Literal["remove", "drop", "measure"] = Field(
        "remove",
        description="remove: cut repeated runs out of the texts; drop: leave out documents with too much of them; "
        "measure: only say how much there is, in the column repeated_fraction.",
    )
    within: bool = Field(True, description="Whether a run that occurred before in the same document counts too.")
    least_words: int = Field(
        20, ge=1, description="With `remove`: a document that has lost something and has fewer words left is dropped."
    )
    most_repeated: float = Field(
        0.5, ge=0, lt=1, description="With `drop`: the largest share of repeated words that a document may have."
    )

    @model_validator(mode="after")
    def _heeded(self) -> SubstringConfig:
        # What is as by default does no harm, and stands in every configuration that is written out.
        for name, action in (("least_words", "remove"), ("most_repeated", "drop")):
            if self.action != action and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} goes with action: {action}, and is without meaning with {self.action}")
        return self
