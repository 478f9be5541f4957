"""What a run can be told to learn. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from bedplate.config import Config
from bedplate.families.configs import Kind


class FillInTheMiddleConfig(Config):
    """Documents turned round, so that a decoder learns to fill gaps (Bavarian et al. 2022, arXiv 2207.14255). The
    tokenizer needs the three tokens that mark the parts."""

    rate: float = Field(0.5, gt=0, le=1, description="share of documents that are turned round")
    spm_rate: float = Field(0.5, ge=0, le=1, description="share of these whose suffix comes first")


class NextToken(Config):
    """Predict the next token: decoders."""

    name: Literal["next-token"] = Field("next-token", description="predict the next token")
    z_loss: float = Field(0.0, ge=0, description="weight of the squared logarithm of the softmax's sum")
    load_balance: float = Field(
        0.0, ge=0, description="mixture of experts: weight of the auxiliary balancing loss of each row"
    )
    bias_update: float = Field(
        0.0, ge=0, description="mixture of experts with a bias on routing: how far it moves a step to balance the load"
    )
    multi_token: float = Field(0.0, ge=0, description="weight of the losses of tokens further ahead, where it has them")
    fill_in_the_middle: FillInTheMiddleConfig | None = Field(None, description="turn documents round; null for none")


class Prefix(Config):
    """Predict the second part of a document from the first, which is read both ways (arXiv 1910.10683)."""

    name: Literal["prefix"] = Field("prefix", description="predict the rest of a document from its beginning")
    z_loss: float = Field(0.0, ge=0, description="weight of the squared logarithm of the softmax's sum")


class Masked(Config):
    """Predict tokens that were masked: encoders (arXiv 1810.04805)."""

    name: Literal["masked"] = Field("masked", description="predict masked tokens")
    rate: float = Field(0.15, gt=0, lt=1, description="share of tokens that are to be predicted")
    whole_words: bool = Field(False, description="whether the tokens of a word are masked together")


class SpanCorruption(Config):
    """Predict spans that were cut out: encoder-decoders (arXiv 1910.10683). The tokenizer needs sentinels."""

    name: Literal["span-corruption"] = Field("span-corruption", description="predict spans that were cut out")
    density: float = Field(0.15, gt=0, lt=1, description="share of tokens that are cut out")
    mean_span: float = Field(3.0, ge=1, description="mean length of a span, in tokens")


ObjectiveConfig = Annotated[NextToken | Prefix | Masked | SpanCorruption, Field(discriminator="name")]

DEFAULTS: Mapping[Kind, ObjectiveConfig] = {
    "decoder": NextToken(),
    "encoder": Masked(),
    "encoder-decoder": SpanCorruption(),
}
"""What each kind of model learns where nothing else is said."""

FITS: Mapping[Kind, tuple[str, ...]] = {
    "decoder": ("next-token", "prefix"),
    "encoder": ("masked",),
    "encoder-decoder": ("span-corruption",),
}
"""What each kind can learn."""
