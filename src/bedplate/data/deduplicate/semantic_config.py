"""`SemanticConfig`: which documents say the same as another, by the vectors of an encoder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bedplate.config import Config, execution


class SemanticConfig(Config):
    """Documents whose vectors are nearly the same, looked for within clusters (SemDeDup, Abbas et al. 2023)."""

    encoder: str = Field(description="The folder of an encoder of sentences: a model artefact, or as it is published.")
    threshold: float = Field(
        0.95, gt=0, le=1, description="A document is dropped whose vector has at least this cosine with a kept one's."
    )
    keep: Literal["first", "longest"] = Field(
        "longest", description="Which one of several stays: the first of the corpus, or the longest (then the first)."
    )
    characters: int = Field(2000, ge=1, description="How much of a document's beginning the encoder is given.")
    clusters: int | None = Field(
        None,
        ge=1,
        le=20_000,
        description="Clusters within which documents are compared; null: one for every thousand documents.",
    )
    sample: int = Field(
        20_000,
        ge=100,
        le=200_000,
        description="Documents, at most, on whose vectors the clusters' centres are trained.",
    )
    iterations: int = Field(20, ge=1, le=1000, description="Rounds of k-means, at most.")
    seed: int = Field(0, ge=0, description="Of the sample and of the centres to begin with.")
    batch_tokens: int = execution(2048, ge=1, description="Positions that the encoder computes at once.")
    device: str = execution("cpu", description="Where the encoder runs: auto, cpu, cuda or mps.")
