"""What a comparison is told. No torch here."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from bedplate.adapt.ways import RANDOM, TUNED, BudgetConfig, EndpointConfig, TaskConfig, Way, described
from bedplate.config import Config, execution

FEWEST_SEEDS = 3


class PricesConfig(Config):
    """What a comparison reckons with. Prices of an endpoint's tokens stand with the endpoint."""

    cpu_hour: float = Field(0.05, ge=0, description="an hour of one processor core")
    gpu_hour: float = Field(2.0, ge=0, description="an hour of one accelerator, where one is used")
    label: float = Field(0.0, ge=0, description="a labelled example, where labels had to be bought")
    currency: str = Field("USD", min_length=1, max_length=12, description="what all prices are in")


class CompareConfig(Config):
    """Several ways on one task, with one budget and one account of cost."""

    task: TaskConfig | None = Field(None, description="the task file; absent where there is a `task` input")
    ways: tuple[Way, ...] = Field(
        min_length=2, description="the ways to compare; one with default settings may be named by its word alone"
    )
    budget: BudgetConfig = Field(
        default_factory=lambda: BudgetConfig.model_validate({}), description="what each way may spend, the same for all"
    )
    seeds: tuple[int, ...] = Field(
        (0, 1, 2), min_length=FEWEST_SEEDS, description="seeds of the ways that are random; the others run once"
    )
    test: int | None = Field(None, gt=0, description="most test examples, a sample fixed by hash; all where null")
    prices: PricesConfig = Field(
        default_factory=lambda: PricesConfig.model_validate({}), description="what time and labels cost"
    )
    margin: float = Field(
        0.02, ge=0, le=1, description="how far below the best score a way may lie and be advised for costing less"
    )
    requests: int = Field(100_000, gt=0, description="requests that the ways' whole costs are reckoned for")
    endpoint: EndpointConfig | None = Field(
        None, description="an OpenAI-compatible server that prompts are put to, in place of the base"
    )
    answer_tokens: int = Field(64, gt=0, description="longest answer, where answers are free text")
    latency_requests: int = Field(20, ge=5, le=1000, description="single requests that are timed for each way")
    limit_s: float | None = execution(
        None, gt=0, description="seconds after which one way with one seed is stopped and recorded as failed"
    )

    @field_validator("ways", mode="before")
    @classmethod
    def _words(cls, ways: Any) -> Any:
        """`tfidf` is short for `{way: tfidf}`."""
        if not isinstance(ways, list | tuple):
            return ways
        return [{"way": way} if isinstance(way, str) else way for way in ways]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [described(way) for way in self.ways]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two ways are called {name!r}: give one of them a `name`")
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds {list(self.seeds)}: needs different ones, from 0 on")
        return self


def seeds_of(way: Any, config: CompareConfig) -> tuple[int, ...]:
    """The seeds that a way is run with: all where its result depends on them, else the first alone."""
    random = way.way in RANDOM and getattr(way, "examples", None) != "nearest"
    return config.seeds if random else config.seeds[:1]


def asks_endpoint(way: Any, config: CompareConfig) -> bool:
    """Whether the way puts prompts to the endpoint."""
    return config.endpoint is not None and way.way in ("zero-shot", "few-shot", "retrieval")


def rests_on(way: Any, config: CompareConfig) -> tuple[str, ...]:
    """Roles of the inputs that a way is made from, the task apart; optional ones too."""
    if way.way in TUNED:
        return (str(way.tune),)
    asked = () if asks_endpoint(way, config) else ("base",)
    if way.way == "zero-shot":
        return asked
    if way.way == "few-shot":
        return (*asked, "encoder") if way.examples == "nearest" else asked
    if way.way == "retrieval":
        return (*asked, "index", "encoder")
    return ("encoder",) if way.way in ("nearest", "probe") else ()
