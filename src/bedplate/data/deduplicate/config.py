"""What `deduplicate` looks for. Each section is a stage of its own, and those that are given run in the order below."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from bedplate.config import Config
from bedplate.data.deduplicate.semantic_config import SemanticConfig
from bedplate.data.deduplicate.substring_config import SubstringConfig

Keep = Literal["first", "longest", "earliest", "licensed"]

HASHES = 128
"""As many numbers as a signature may have where bands and rows follow from a threshold."""
FOUND = 0.9
"""The share of pairs exactly at a threshold that the bands made for it bring together."""
FINEWEB = (14, 8)
"""Bands and rows of FineWeb (Penedo et al. 2024, arXiv 2406.17557)."""


class ExactConfig(Config):
    """Documents with the same text; of those with pictures, the same text and the very same picture."""

    normalise: bool = Field(
        False,
        description="Compare without regard to case, compatibility forms (NFKC), punctuation and white space, and with "
        "every number taken for the same. Texts without a letter are compared as they are.",
    )


class ShingleConfig(Config):
    """What a text is cut into before it is compared."""

    unit: Literal["word", "character"] = Field(
        "word",
        description="What shingles are made of. A character of a script that is written without spaces (Chinese, "
        "Japanese, Thai, Lao, Khmer, Burmese) counts as a word.",
    )
    length: int = Field(5, ge=1, le=100, description="Units in a shingle. A text with fewer is like no other.")
    seed: int = Field(0, ge=0, description="Of the hash functions.")


class MinHashConfig(ShingleConfig):
    """Documents that share most of their shingles, found by MinHash and banding (Broder 1997; Leskovec et al.). Those
    with pictures are left alone: of two pictures with one caption neither is a copy."""

    bands: int | None = Field(None, ge=1, le=512, description="Bands of a signature; with `rows`. Without either, 14.")
    rows: int | None = Field(None, ge=1, le=64, description="Hashes in a band; with `bands`. Without either, 8.")
    threshold: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Jaccard similarity from which documents count as copies. Without bands and rows it chooses them; "
        "without it, it is where the bands' curve is steepest: (1 / bands) ** (1 / rows), 0.72 for 14 bands of 8.",
    )
    verify: bool = Field(
        True,
        description="Link two documents of a bucket only where their signatures' agreement reaches the threshold. "
        "Without it, every pair that shares a band counts, chance ones included.",
    )

    @model_validator(mode="after")
    def _together(self) -> MinHashConfig:
        if (self.bands is None) != (self.rows is None):
            raise ValueError("bands and rows go together: give both, or neither")
        if (self.bands or 0) * (self.rows or 0) > 1024:
            raise ValueError(f"{self.bands} bands of {self.rows} rows are more than 1024 hashes: give fewer")
        return self

    @property
    def banding(self) -> tuple[int, int]:
        """Bands and rows."""
        if self.bands is not None and self.rows is not None:
            return self.bands, self.rows
        return FINEWEB if self.threshold is None else banding(self.threshold)

    @property
    def similarity(self) -> float:
        """The Jaccard similarity from which documents count as copies."""
        bands, rows = self.banding
        return self.threshold if self.threshold is not None else (1 / bands) ** (1 / rows)


class ClusterConfig(ShingleConfig):
    """Which documents must share a split: those that are alike, and those of one group or with one picture."""

    threshold: float = Field(
        0.5, gt=0, lt=1, description="Jaccard similarity from which documents are in one cluster and so in one split."
    )


class ImagesConfig(Config):
    """Documents with one picture each, whose pictures look the same, whatever their captions say."""

    distance: int = Field(4, ge=0, le=15, description="Bits of 64 in which two pictures' perceptual hashes may differ.")
    largest_pixels: int = Field(
        64_000_000, ge=1, description="A picture with more pixels is not decoded, and so is like no other."
    )


class DeduplicateConfig(Config):
    """Which copies to leave out, and which one of them stays."""

    exact: ExactConfig | None = Field(None, description="Same text, and same picture where there is one.")
    minhash: MinHashConfig | None = Field(
        None, description="Most shingles in common. Leaves documents with pictures alone."
    )
    substring: SubstringConfig | None = Field(
        None, description="Long passages in common. Leaves documents with pictures alone."
    )
    embeddings: SemanticConfig | None = Field(
        None, description="Embeddings close to one another. Leaves documents with pictures alone."
    )
    images: ImagesConfig | None = Field(None, description="Pictures that look the same.")
    keep: Keep = Field(
        "first",
        description="Which copy stays: the first in the corpus's order, the longest (in bytes), the earliest by date, "
        "or one with a known licence. Ties go to the first. Of passages (`substring`) the first stays in any case, and "
        "`embeddings` has its own.",
    )


def banding(threshold: float, hashes: int = HASHES) -> tuple[int, int]:
    """Bands and rows that take up to `hashes` numbers: as many rows as still bring 9 of 10 pairs at the threshold
    together, so that few others are."""
    best = (hashes, 1)
    for rows in range(2, min(hashes, 64) + 1):
        bands = hashes // rows
        if found(threshold, bands, rows) < FOUND:
            break
        best = (bands, rows)
    return best


def found(similarity: float, bands: int, rows: int) -> float:
    """The chance that a pair of this Jaccard similarity shares a band."""
    return float(1 - (1 - similarity**rows) ** bands)
