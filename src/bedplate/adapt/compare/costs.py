"""What a way costs: once, for fitting it, and for each request; and from which volume on it is the cheaper one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bedplate.adapt.compare.config import PricesConfig
from bedplate.adapt.compare.job import Measurement
from bedplate.adapt.ways import EndpointConfig

HOUR_S = 3600.0
MILLION = 1e6

BREAK_EVEN_RULE = (
    "Each way is held against the cheapest way that is as good: among the ways of its own group of equals and of "
    "better groups, the one that costs least to fit. From N* = extra fitting cost / saving per request requests on, "
    "the way is cheaper than that one."
)


@dataclass(frozen=True)
class Cost:
    """fit: once. request: each. Both in the prices' currency.

    known: False where an endpoint that wants money didn't say all that it read and wrote: the rest is what is known.
    """

    fit: float
    request: float
    known: bool = True

    def whole(self, requests: float) -> float:
        """Fitting and that many requests."""
        return self.fit + requests * self.request


@dataclass(frozen=True)
class BreakEven:
    """Where a way's whole cost crosses that of `against`.

    cheaper: "from" so many requests on, "until" so many, "always", "never", or "same" where they cost the same.
    """

    against: str
    cheaper: Literal["from", "until", "always", "never", "same"]
    requests: int | None = None


def cost(measured: Sequence[Measurement], prices: PricesConfig, endpoint: EndpointConfig | None) -> Cost:
    """Of one way, the mean over its seeds: one fit of those is what serving it takes. endpoint: what it asks, if any.

    Fitting costs time, labels (those that settings were chosen by too), and the tokens of an endpoint. A request costs
    the time of processor and accelerator that it takes when it comes alone, which batching makes less, and the tokens
    of an endpoint.
    """
    fits, requests = [], []
    for run in measured:
        labels = run.labels_used + run.labels_for_choices
        fits.append(_time(run.fit_cpu_s, run.fit_gpu_s, prices) + labels * prices.label)
        if run.request_cpu_s is not None:
            requests.append(_time(run.request_cpu_s, run.request_gpu_s, prices))
    fit, request = sum(fits) / len(fits), sum(requests) / len(requests)
    if endpoint is None or not (endpoint.prompt_price or endpoint.completion_price):
        return Cost(fit, request)
    once = [_tokens(run.fit_prompt_tokens, run.fit_completion_tokens, endpoint) for run in measured]
    each = [_tokens(run.prompt_tokens, run.completion_tokens, endpoint) for run in measured]
    return Cost(fit + _mean_known(once), request + _mean_known(each), known=None not in (*once, *each))


def _tokens(read: float | None, written: float | None, endpoint: EndpointConfig) -> float | None:
    if read is None or written is None:
        return None
    return (read * endpoint.prompt_price + written * endpoint.completion_price) / MILLION


def _mean_known(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else 0.0


def break_even(way: str, costs: Mapping[str, Cost], groups: Sequence[Sequence[str]]) -> BreakEven | None:
    """The way against the cheapest to fit that is as good, as `BREAK_EVEN_RULE` says. None where nothing else is,
    and where what the way costs isn't known."""
    own = next(number for number, group in enumerate(groups) if way in group)
    others = [name for group in groups[: own + 1] for name in group if name != way and costs[name].known]
    if not others or not costs[way].known:
        return None
    against = min(others, key=lambda name: (costs[name].fit, costs[name].request))
    return compared(way, against, costs)


def compared(way: str, against: str, costs: Mapping[str, Cost]) -> BreakEven:
    """Where the whole cost of `way` crosses that of `against`."""
    extra = costs[way].fit - costs[against].fit
    saving = costs[against].request - costs[way].request
    if extra == 0 and saving == 0:
        return BreakEven(against, "same")
    if extra <= 0 <= saving:
        return BreakEven(against, "always")
    if extra >= 0 >= saving:
        return BreakEven(against, "never")
    if extra > 0:
        return BreakEven(against, "from", math.ceil(extra / saving))
    return BreakEven(against, "until", math.floor(extra / saving))


def _time(cpu_s: float, gpu_s: float, prices: PricesConfig) -> float:
    return (cpu_s * prices.cpu_hour + gpu_s * prices.gpu_hour) / HOUR_S
