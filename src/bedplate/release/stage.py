"""The release stage: its configuration and declaration. The work is in `folder`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bedplate.config import Config
from bedplate.ledger.stage import Stage


class ReleaseConfig(Config):
    """What only a person can say about a model, and how it is stored. What is left out the card lists as missing."""

    title: str | None = Field(None, min_length=1, description="The model's name on the card; null for the run's name.")
    license: str | None = Field(
        None,
        min_length=1,
        description="The licence that the model is released under, an SPDX identifier; you attest it.",
    )
    description: str | None = Field(None, min_length=1, description="What the model is, in a sentence or two.")
    intended_use: str | None = Field(None, min_length=1, description="What it is meant for, and what not.")
    limitations: str | None = Field(None, min_length=1, description="Known limits, risks and biases.")
    contact: str | None = Field(None, min_length=1, description="Who answers for it, and where.")
    dtype: Literal["float32", "bfloat16", "float16"] | None = Field(
        None, description="What the weights are stored in; null for what they are in now."
    )


RELEASE = Stage(
    name="release",
    version=1,
    kind="release",
    config=ReleaseConfig,
    inputs={"run": "run|model", "evaluation": "report?"},
    run="bedplate.release.folder:release",
    resumes=False,
)
