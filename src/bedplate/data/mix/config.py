"""What a mixture is to be."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from bedplate.config import Config


class CurriculumConfig(Config):
    """The order of an epoch, by a column of the corpus."""

    by: str = Field(description="The column: a signal such as `words` or `perplexity_bits_per_byte`, or `date`.")
    descending: bool = Field(False, description="The greatest values first.")
    phases: int = Field(
        4, ge=2, le=100, description="Parts of equal numbers of documents; within each the order is random."
    )


class MixConfig(Config):
    """How often each document is seen in an epoch, from its source. Validation documents are seen once in any case,
    but for those of sources that are left out, which are in no split."""

    weights: dict[str, float] | None = Field(
        None,
        description="Shares of the tokens by source, in any unit: {code: 1, text: 3}. A source that isn't named keeps "
        "its own size as its share, unless others are left out with `rest: drop`. One of weight 0 is left out too. "
        "That is done before copies are looked for, so that nothing goes as a copy of what isn't there in the end.",
    )
    temperature: float | None = Field(
        None,
        ge=1,
        description="Shares in proportion to size to the power of 1 / temperature: 1 as they are, and the more equal "
        "the higher it is.",
    )
    rest: Literal["keep", "drop"] = Field("keep", description="Sources that `weights` doesn't name.")
    budget: float | None = Field(
        None, gt=0, description="Tokens in an epoch. By itself as many as the sources hold that aren't dropped."
    )
    most_epochs: float = Field(
        4.0,
        gt=0,
        description="How often a document is seen at most; what a source can't give the others give. Up to four "
        "times repeated text is worth nearly as much as fresh text (Muennighoff et al. 2023, arXiv 2305.16264).",
    )
    bytes_per_token: float | dict[str, float] = Field(
        4.0,
        description="What a token is taken to be, in all or by source: no tokenizer is known yet. The measures of a "
        "`tokenize` stage say it for a tokenizer.",
    )
    curriculum: CurriculumConfig | None = Field(None, description="Which documents come first in an epoch.")

    @model_validator(mode="after")
    def _one_rule(self) -> MixConfig:
        if self.weights is not None and self.temperature is not None:
            raise ValueError("weights and temperature are two ways to say the same; give one of them")
        if self.weights is not None and (
            any(weight < 0 for weight in self.weights.values()) or not sum(self.weights.values())
        ):
            raise ValueError("weights must be 0 or more, and one of them more")
        if self.rest == "drop" and self.weights is None:
            raise ValueError("rest: drop goes with weights")
        rates = self.bytes_per_token.values() if isinstance(self.bytes_per_token, dict) else [self.bytes_per_token]
        if any(rate <= 0 for rate in rates):
            raise ValueError("bytes_per_token must be more than 0")
        return self

    @property
    def leaves_some_out(self) -> bool:
        """Whether there may be sources of which nothing is wanted."""
        return self.weights is not None and (self.rest == "drop" or not all(self.weights.values()))

    def leaves_out(self, label: str) -> bool:
        """Whether nothing of a source is wanted."""
        unnamed = 0 if self.rest == "drop" else 1
        return self.weights is not None and not self.weights.get(label, unnamed)

    def rate(self, label: str) -> float:
        """Bytes of a token of a source's text."""
        return self.bytes_per_token.get(label, 4.0) if isinstance(self.bytes_per_token, dict) else self.bytes_per_token
