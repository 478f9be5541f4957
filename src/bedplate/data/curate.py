"""The `curate` stage: which raw sources to read and what to keep of them. Raw documents -> a `corpus` artefact."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from bedplate.config import Config, execution
from bedplate.data.classify.config import ClassifierConfig
from bedplate.data.decontaminate.config import DecontaminateConfig
from bedplate.data.deduplicate.config import ClusterConfig, DeduplicateConfig, ExactConfig
from bedplate.data.extract.config import ExtractConfig
from bedplate.data.filters.config import FiltersConfig
from bedplate.data.mix.config import MixConfig
from bedplate.data.privacy.config import PrivacyConfig
from bedplate.data.rights.config import RightsConfig
from bedplate.data.signals.config import SignalsConfig
from bedplate.data.source import Source
from bedplate.ledger import Stage

__all__ = ["CURATE", "CurateConfig", "Source"]


class CurateConfig(Config):
    """What `curate` reads, what it says of each document, what it drops and what it sets aside.

    A section that isn't there is a stage that isn't run; documents go through the stages in the order below.
    """

    sources: tuple[Source, ...] = Field((), description="The raw sources, in the corpus's order.")
    largest_document: int = Field(4 << 20, ge=1, description="Larger documents are dropped, in bytes of UTF-8.")
    on_error: Literal["stop", "skip"] = Field(
        "stop",
        description="At a line, row or file that can't be read: stop, or count it as failed and go on. Damaged records "
        "of crawls, and single files of many, are counted and passed over in any case.",
    )
    extract: ExtractConfig | None = Field(
        None, description="How pages become text. By itself it's done as by default where a source holds pages."
    )
    rights: RightsConfig | None = Field(
        None, description="Licences found in documents, what their owners reserve, lists of what to allow and to block."
    )
    privacy: PrivacyConfig | None = Field(None, description="Personal data and secrets: found, masked or dropped.")
    signals: SignalsConfig | None = Field(None, description="What is measured of every document, as columns.")
    classify: dict[str, ClassifierConfig] | None = Field(
        None, description="Trained filters by the column that they make: {toxicity: {filter: FOLDER}}."
    )
    filters: FiltersConfig | None = Field(
        None, description="Thresholds over columns. The signals that they need are measured by themselves."
    )
    decontaminate: DecontaminateConfig | None = Field(
        None, description="Documents that hold items of evaluation sets: found, cut or dropped."
    )
    deduplicate: DeduplicateConfig = Field(
        DeduplicateConfig(exact=ExactConfig()),
        description="What is left out because it is there already, wholly or in part; by itself, exact copies.",
    )
    mix: MixConfig | None = Field(None, description="How often each source's documents are seen, and in which order.")
    clusters: ClusterConfig | None = Field(
        ClusterConfig(),
        description="How documents are found that are so alike that they must share a split; null: each is by itself.",
    )
    validation: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Share of documents set aside for validation, by the hash of each one's text, group or cluster. "
        "Never none: training and evaluation both need some.",
    )
    engine: Literal["local", "ray"] = execution(
        "local",
        description="What carries out the work: processes of this machine, or the Ray cluster that RAY_ADDRESS names.",
    )
    workers: int | None = execution(
        None, ge=1, description="Worker processes; by itself one a core, and for a little plain text none."
    )
    patience_s: float = execution(
        120.0, gt=0, description="Seconds after which a document that never ends is counted as failed."
    )

    @model_validator(mode="after")
    def _distinct_names(self) -> CurateConfig:
        labels = [source.label for source in self.sources]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"two sources are called {twice[0]!r}; give one a `name`")
        return self


CURATE = Stage(
    name="curate",
    version=2,
    kind="corpus",
    config=CurateConfig,
    inputs={
        "corpus": "corpus*",
        "earlier": "corpus?",
        "filter": "filter*",
        "model": "model|release|run?",
        "encoder": "model?",
    },
    run="bedplate.data.curation.run:run",
    sources="bedplate.data.curation.references:raw_inputs",
)
