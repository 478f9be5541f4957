"""`comparison.json`: what a comparison found, as data. Its schema is these classes; each field says what it holds."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bedplate.adapt.compare.job import Measurement

SCHEMA_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Share(_Part):
    """A figure with the ends of its 95% interval."""

    value: float = Field(description="the figure")
    low: float = Field(description="lower end of its 95% interval")
    high: float = Field(description="upper end")


class Behind(_Part):
    """How far a way lies behind the best."""

    difference: Share = Field(description="the best way's score less this one's, paired by test example")
    p: float = Field(description="two-sided, of no difference")
    p_corrected: float = Field(description="the same, by Holm's method over all ways")


class Crossing(_Part):
    """Where a way becomes cheaper than the cheapest way that is as good."""

    against: str = Field(description="that way: as good or better, and the cheapest to fit")
    cheaper: Literal["from", "until", "always", "never", "same"] = Field(description="when this way costs less")
    requests: int | None = Field(description="from or until how many requests")


class SeedScore(_Part):
    """One seed of a way."""

    score: float = Field(description="accuracy or exact match on the test examples")
    second: float = Field(description="macro-F1 or the F1 of words")
    folder: str = Field(description="its fitted artefact, relative to the comparison")
    measured: Measurement = Field(description="what it cost")


class WayResult(_Part):
    """One way that finished."""

    name: str = Field(description="what reports call it")
    way: str = Field(description="which way it is: tfidf, lora ...")
    kind: str = Field(description="kind of artefact: prompt, probe, adapter, model, baseline")
    settings: dict[str, Any] = Field(description="its settings")
    seeds: tuple[SeedScore, ...] = Field(description="each of its seeds; one where it isn't random")
    score: Share = Field(description="accuracy or exact match, the mean over seeds")
    spread: tuple[float, float] | None = Field(description="least and greatest score of its seeds; null for one seed")
    second: float = Field(description="macro-F1 over classes, or the F1 of words for free text; mean over seeds")
    group: int = Field(description="1 for the best and all that are tied with it, then 2, 3 ...")
    behind: Behind | None = Field(description="against the best way; null for the best itself")
    folder: str = Field(description="artefact to serve: the seed that was best on validation; relative")
    rests_on: dict[str, int] = Field(description="inputs that it needs when it is served, with their bytes")
    labels_used: int = Field(description="labelled training examples")
    labels_for_choices: int = Field(0, description="labelled validation examples that settings were chosen by")
    fit_s: float = Field(description="seconds of fitting, loading and search included; mean over seeds")
    fit_flops: float | None = Field(description="operations of fitting, search included; null: uncounted")
    peak_bytes: float = Field(description="greatest memory of its process; greatest over seeds")
    own_bytes: int = Field(description="size of the artefact; greatest over seeds")
    prompt_tokens: float | None = Field(
        description="tokens that a model reads for a request, on average; null: an endpoint's replies didn't all say"
    )
    completion_tokens: float | None = Field(
        0.0, description="tokens that an endpoint writes for a request, or that free answers have; null likewise"
    )
    cost_known: bool = Field(
        True, description="false: an endpoint with a price didn't say all it read and wrote; costs are what is known"
    )
    latency_s: tuple[float, float] = Field(description="median and 95th percentile of single requests, in seconds")
    latency_requests: int = Field(description="single requests that were timed")
    fit_cost: float = Field(description="cost of one fit, labels included, in the currency")
    cost_1000: float = Field(description="cost of 1,000 requests, in the currency")
    whole_cost: float = Field(description="one fit and `requests` requests, in the currency")
    break_even: Crossing | None = Field(description="against the cheapest way that is as good; null where none is")
    abstained: float | None = Field(description="share of test examples declined; null where there are classes")
    cited: float | None = Field(description="share of test examples answered with a source; null likewise")
    right_of_answered: float | None = Field(description="exact match among those that weren't declined; null likewise")


class Failed(_Part):
    """A way that couldn't be compared."""

    name: str = Field(description="what reports call it")
    way: str = Field(description="which way it is")
    seed: int = Field(description="the seed that failed")
    problem: str = Field(description="what went wrong")
    fix: str | None = Field(description="what to do about it")
    trace: str | None = Field(description="where in the code, or the process's last words")


class TaskFacts(_Part):
    """The task and how it was split."""

    name: str = Field(description="the task")
    kind: Literal["classification", "generation"] = Field(description="what it asks for")
    metric: Literal["accuracy", "exact match"] = Field(description="what the score is")
    second: Literal["macro-F1", "word F1"] = Field(description="what the second score is")
    classes: tuple[str, ...] = Field(description="the classes; empty for free text")
    train: int = Field(description="training examples that the budget allows")
    train_available: int = Field(description="training examples that there are")
    validation: int = Field(description="validation examples that the budget allows")
    test: int = Field(description="test examples scored")
    test_available: int = Field(description="test examples that there are")
    split: str = Field(description="how the split was made, in words")


class Disagreement(_Part):
    """A test example that ways answer differently, by the first seed of each."""

    input: str = Field(description="what was asked")
    target: str = Field(description="what is right")
    row: int = Field(description="its line in the task's file")
    answers: dict[str, str] = Field(description="way -> its answer")
    right: tuple[str, ...] = Field(description="the ways that are right")


class Mistakes(_Part):
    """What one way confuses, over all its seeds."""

    name: str = Field(description="the way")
    confused: tuple[tuple[str, str, int], ...] = Field(description="(right class, answered instead, how often)")
    weakest: tuple[tuple[str, float, int], ...] = Field(description="(class, share found, its test examples)")


class Advice(_Part):
    """Which way to take, and why."""

    way: str = Field(description="the way to take")
    best: str = Field(description="the way with the highest score")
    tied: tuple[str, ...] = Field(description="the ways that can't be told from the best, itself included")
    reasons: tuple[str, ...] = Field(description="in plain words, the first sentence saying what to take")
    foundation_model: Literal["worth it", "not worth it", "undecided"] | None = Field(
        description="worth it: every way without one is worse than the best; not worth it: the way to take has none; "
        "undecided: a way without one is tied with it; null: only ways of one sort were compared"
    )


class Comparison(_Part):
    """All of it."""

    schema_version: int = Field(SCHEMA_VERSION, description="version of this schema")
    task: TaskFacts = Field(description="the task")
    advice: Advice = Field(description="what to take")
    ways: tuple[WayResult, ...] = Field(description="the ways that finished, the best first")
    failed: tuple[Failed, ...] = Field(description="the ways that didn't")
    try_again: str | None = Field(
        None, description="commands that let the same comparison run what failed, and nothing else; null: nothing did"
    )
    mistakes: tuple[Mistakes, ...] = Field(description="what the advised and the best way confuse; empty for free text")
    disagreements: tuple[Disagreement, ...] = Field(description="test examples on which ways differ")
    tellable: float | None = Field(
        description="half the width of the widest interval of a difference in the best group, and no less than what "
        "Wilson's interval leaves open where no example differs: about the least difference that this test set can "
        "tell there; null where nothing is tied"
    )
    seeds: tuple[int, ...] = Field(description="seeds of the random ways")
    budget: dict[str, Any] = Field(description="what each way might spend")
    prices: dict[str, Any] = Field(description="what was reckoned with")
    margin: float = Field(description="how far below the best score a way may lie and be advised for costing less")
    requests: int = Field(description="requests that whole costs are for")
    rules: dict[str, str] = Field(description="how figures are defined")
