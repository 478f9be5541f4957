"""The `train-filter` stage: a linear classifier from the user's own examples -> a `filter` artefact."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from bedplate.config import Config
from bedplate.data.classify.config import Features
from bedplate.ledger import Stage

Conflicts = Literal["refuse", "majority", "leave_out"]


class ExampleFile(Config):
    """A file of examples: JSON Lines, JSON, Parquet, CSV or TSV, such as the labelling page exports."""

    path: str = Field(description="The file.")
    text_field: str = Field("text", description="The field that holds the text.")
    label_field: str = Field("label", description="The field that holds the label: a word, a number, true or false.")
    id_field: str = Field(
        "id", description="The field that names a document of the input `corpus`; read where a row has no text."
    )


class TextFile(Config):
    """A file of texts without labels."""

    path: str = Field(description="The file.")
    text_field: str = Field("text", description="The field that holds the text.")


class WeakLabels(Config):
    """Labels that functions of your own give, each a rule of thumb; for training only."""

    functions: str = Field(
        pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*$",
        description='"module:NAME" of a list of functions, looked for where Python looks and in the working directory. '
        "Each takes a text and returns a label, or None where it has nothing to say.",
    )
    texts: tuple[TextFile, ...] = Field((), description="Texts to label; none: those of the input `corpus`.")
    combine: Literal["majority", "agreement"] = Field(
        "agreement",
        description="majority: each function one vote. agreement: a function counts more the more often it agrees with "
        "the others.",
    )
    least_votes: int = Field(1, ge=1, description="Functions that must have said something of a text.")
    most: int = Field(50_000, ge=1, description="Texts that are looked at, the first ones.")


class Aim(Config):
    """How the threshold is chosen; at most one of these. None of them: the greatest F1."""

    precision: float | None = Field(None, gt=0, lt=1, description="The greatest recall at this precision or better.")
    recall: float | None = Field(None, gt=0, lt=1, description="The greatest precision at this recall or better.")
    threshold: float | None = Field(None, ge=0, le=1, description="This probability.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in (self.precision, self.recall, self.threshold)) > 1:
            raise ValueError("give one of precision, recall and threshold")
        return self


class TrainFilterConfig(Config):
    """What to learn from, and how."""

    examples: tuple[ExampleFile, ...] = Field((), description="Files of labelled texts.")
    positive: tuple[str, ...] = Field(
        min_length=1, description="The labels whose probability the classifier gives: [good], [hate, offensive]."
    )
    negative: tuple[str, ...] | None = Field(
        None, min_length=1, description="The labels on the other side; default all others. A third is left out."
    )
    conflicts: Conflicts = Field(
        "refuse",
        description="The same text with labels of both sides: refuse, take the side that more labels are on (and leave "
        "out a tie), or leave it out. majority is for several annotators.",
    )
    weak: WeakLabels | None = Field(None, description="Labels by functions of your own, beside the examples or alone.")
    features: Features = Field(default_factory=Features, description="What of a text the classifier sees.")
    strengths: tuple[float, ...] = Field(
        (1.0, 3.0, 10.0),
        min_length=1,
        description="Inverse regularisation (scikit-learn's C); the one with the least loss on a fifth of the training "
        "examples is taken.",
    )
    balance: bool = Field(True, description="Both sides count the same in training, however many examples each has.")
    held_out: float = Field(0.2, gt=0, lt=0.9, description="The share of the examples that only the measures see.")
    aim: Aim = Field(default_factory=Aim, description="How the threshold is chosen, on training examples.")
    seed: int = Field(0, ge=0, description="Decides which examples are held out, and the bootstrap.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.examples and self.weak is None:
            raise ValueError("neither examples nor weak: nothing to learn from")
        both = sorted(set(self.positive) & set(self.negative or ()))
        if both:
            raise ValueError(f"{', '.join(both)}: both positive and negative")
        if min(self.strengths) <= 0:
            raise ValueError("strengths must be above 0")
        return self


TRAIN_FILTER = Stage(
    name="train-filter",
    version=1,
    kind="filter",
    config=TrainFilterConfig,
    inputs={"corpus": "corpus?"},
    run="bedplate.data.classify.training:run",
    sources="bedplate.data.classify.examples:sources",
    resumes=False,
)
