"""The `synthesize` stage: a corpus -> a corpus that a model wrote from it, every row of which says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from bedplate.config import Config, execution
from bedplate.errors import RecipeError
from bedplate.ledger import Stage

Method = Literal["rephrase", "question-answer", "self-instruct"]
Style = Literal["easy", "medium", "hard"]


class ServedModel(Config):
    """A model behind any OpenAI-compatible server. The key is read from the environment, never from the recipe."""

    url: str = Field(pattern=r"^https?://[^@\s]+$", description="Base URL, up to and including /v1.")
    model: str = Field(min_length=1, description="The model's name there.")
    key: str | None = execution(None, description="Environment variable that holds the key.")
    timeout: float = execution(120.0, gt=0, description="Seconds for one request.")
    retries: int = execution(4, ge=0, le=20, description="More tries after a failure that may pass.")
    concurrency: int = execution(8, ge=1, le=128, description="Requests under way at once.")


class SynthesizeConfig(Config):
    """What is written, how, and under which licence."""

    method: Method = Field(
        description="rephrase (WRAP), question-answer (about each passage), or self-instruct (new tasks with answers, "
        "from the corpus's documents as examples)."
    )
    license: str = Field(
        min_length=1,
        description="Licence of what is written, as the model's terms and the documents' licences allow it.",
    )
    endpoint: ServedModel | None = Field(
        None, description="A served model that writes; a local one is given as the input `model`."
    )
    styles: tuple[Style, ...] = Field(
        ("medium",), min_length=1, description="rephrase: for children, as an encyclopedia, or tersely for scholars."
    )
    passage_words: int = Field(300, ge=20, description="Documents are cut into passages of at most so many words.")
    least_words: int = Field(20, ge=1, description="Passages with fewer words aren't asked about.")
    pairs: int = Field(3, ge=1, le=20, description="question-answer: pairs for a passage.")
    instructions: int = Field(100, ge=1, description="self-instruct: new tasks to end at.")
    similar: float = Field(
        0.7, gt=0, le=1, description="self-instruct: a task whose ROUGE-L with another reaches this is dropped."
    )
    copied: float = Field(
        0.8, gt=0, le=1, description="An answer is dropped if such a share of its runs of five words is in its passage."
    )
    documents: int | None = Field(None, ge=1, description="Most documents to start from, the first ones; null: all.")
    validation: float = Field(
        0.05, gt=0, lt=1, description="self-instruct: share set aside; otherwise a text is in its document's split."
    )
    temperature: float = Field(0.7, ge=0, description="0 takes the likeliest token.")
    max_tokens: int = Field(768, ge=1, description="Most tokens of an answer; one that is cut off there is dropped.")
    seed: int = Field(0, ge=0, description="Of the examples that are drawn and of the model's sampling.")
    batch: int = Field(16, ge=1, description="Requests that a local model answers together.")
    most_failed: float = execution(
        0.1, ge=0, le=1, description="Stop if a greater share of requests fails; what was answered is kept."
    )

    @model_validator(mode="after")
    def _fits(self) -> SynthesizeConfig:
        for field, method in _OF_ONE.items():
            default = type(self).model_fields[field].default
            if getattr(self, field) != default and self.method != method:
                raise ValueError(f"{field} goes with method {method}, not with {self.method}")
        if len(set(self.styles)) != len(self.styles):
            raise ValueError("a style is named twice")
        if self.least_words > self.passage_words:
            raise ValueError(f"least_words {self.least_words}: passages have {self.passage_words} words at most")
        return self


_OF_ONE: dict[str, Method] = {
    "styles": "rephrase",
    "pairs": "question-answer",
    "instructions": "self-instruct",
    "similar": "self-instruct",
    "validation": "self-instruct",
}


def check(config: SynthesizeConfig, made_from: Mapping[str, Any]) -> None:
    """Raise RecipeError unless exactly one model is given."""
    if ("model" in made_from) == (config.endpoint is not None):
        raise RecipeError(
            "synthesize: give one model to write, not " + ("two" if config.endpoint else "none"),
            "Set endpoint.url and endpoint.model for a served one, or the input `model` for a local one.",
        )


SYNTHESIZE = Stage(
    name="synthesize",
    version=1,
    kind="corpus",
    config=SynthesizeConfig,
    inputs={"corpus": "corpus", "model": "model|release|run?"},
    run="bedplate.data.synthesis.stage:run",
    check="bedplate.data.synthesis.config:check",
)
