"""Which way to take, in plain words, computed from the figures and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bedplate.adapt.compare.config import CompareConfig
from bedplate.adapt.compare.results import Advice, Failed, TaskFacts, WayResult
from bedplate.adapt.compare.wording import interval, listed, money, percent, points, points_interval, rounded

FEW_EXAMPLES = 100
COARSE = 0.05
"""A test set of fewer examples, or that can't tell smaller differences than this, is named as small."""

FAR = 100
"""How many times more or fewer requests than were reckoned for aren't worth a word."""

HAPHAZARD = "majority"
ROUNDING = 1e-9
"""Scores are shares of counts: 0.85 - 0.83 is a little more than 0.02 in binary."""

Verdict = Literal["worth it", "not worth it", "undecided"]


def advise(
    ways: Sequence[WayResult],
    failed: Sequence[Failed],
    task: TaskFacts,
    config: CompareConfig,
    tellable: float | None,
) -> Advice:
    """Of the ways that are tied with the best and score at most `config.margin` less, the one that costs least in all.

    The margin, as a small test set ties much that isn't equal. ways: the best first.
    """
    tied = [way for way in ways if way.group == 1]
    taken = min(
        (way for way in tied if ways[0].score.value - way.score.value <= config.margin + ROUNDING),
        key=lambda way: (not way.cost_known, way.whole_cost, -way.score.value),
    )
    verdict = _verdict(ways, tied, taken)
    words = _Words(ways, tied, taken, task, config)
    if ways[0].score.value == 0:
        reasons = [words.all_wrong()]
    elif any(way.way == HAPHAZARD for way in tied):
        reasons = [words.nothing()]
    else:
        reasons = [words.take(), words.why(), words.cheaper(verdict), words.foundation(verdict), words.volume()]
    if task.test < FEW_EXAMPLES or (tellable is not None and tellable > COARSE):
        about = f": differences below about {points(tellable)} can't be told" if tellable is not None else ""
        reasons.append(f"The test set is small ({task.test:,} examples){about}. More test examples would say more.")
    if unknown := [way.name for way in ways if not way.cost_known]:
        reasons.append(
            f"What {listed(unknown)} cost{'s' if len(unknown) == 1 else ''} isn't known: the endpoint didn't say all "
            "that it read and wrote."
        )
    if failed:
        names = list(dict.fromkeys(item.name for item in failed))
        reasons.append(f"{listed(names)} failed and {'is' if len(names) == 1 else 'are'}n't judged.")
    return Advice(
        way=taken.name,
        best=ways[0].name,
        tied=tuple(way.name for way in tied),
        reasons=tuple(reason for reason in reasons if reason),
        foundation_model=verdict,
    )


def _verdict(ways: Sequence[WayResult], tied: Sequence[WayResult], taken: WayResult) -> Verdict | None:
    if len({way.kind == "baseline" for way in ways}) < 2:
        return None
    if all(way.kind != "baseline" for way in tied):
        return "worth it"
    return "not worth it" if taken.kind == "baseline" else "undecided"


@dataclass(frozen=True)
class _Words:
    """The sentences; an empty one isn't said."""

    ways: Sequence[WayResult]
    tied: Sequence[WayResult]
    taken: WayResult
    task: TaskFacts
    config: CompareConfig

    def nothing(self) -> str:
        share = next(way.score.value for way in self.tied if way.way == HAPHAZARD)
        return (
            "Take none of them yet: no way is shown to do better than always answering the commonest class "
            f"({percent(share)} of {self.task.test:,} test examples)."
        )

    def all_wrong(self) -> str:
        high = max(way.score.high for way in self.ways)
        return (
            f"Take none of them: none works. No way is right on any of {self.task.test:,} test examples (with 95% "
            f"confidence it is on less than {percent(high)}). Look at the answers in predictions/ and at the task."
        )

    def take(self) -> str:
        does = "it tells the class of" if self.task.kind == "classification" else "it answers exactly"
        return (
            f"Take {self.taken.name}: {does} {percent(self.taken.score.value)} of {self.task.test:,} test examples "
            f"({interval(self.taken.score)} with 95% confidence)."
        )

    def why(self) -> str:
        best, taken = self.ways[0], self.taken
        if taken.behind is not None:
            return (
                f"{best.name} scores {percent(best.score.value)}, but the difference of "
                f"{points(taken.behind.difference.value)} ({points_interval(taken.behind.difference)}) is within what "
                f"{self.task.test:,} test examples can tell apart, and {self._volume} cost {self._whole(taken)} "
                f"against {self._whole(best)}."
            )
        others = [way.name for way in self.tied if way is not taken]
        if others:
            return f"It scores highest; {listed(others)} can't be told from it. {self._costs(taken)}"
        following = next((way for way in self.ways if way.group > 1), None)
        if following is None or following.behind is None:
            return ""
        return (
            f"No other way is as good: the next, {following.name}, is {points(following.behind.difference.value)} "
            f"behind ({points_interval(following.behind.difference)}). {self._costs(taken)}"
        )

    def cheaper(self, verdict: Verdict | None) -> str:
        """The cheapest way that a larger test set might show to be as good."""
        cheapest = min(self.tied, key=lambda way: (not way.cost_known, way.whole_cost))
        if not cheapest.cost_known or not self.taken.cost_known:
            return ""
        if cheapest.whole_cost >= self.taken.whole_cost or cheapest.behind is None:
            return ""
        if verdict == "undecided" and cheapest.kind == "baseline":  # the next sentence says it
            return ""
        return (
            f"{cheapest.name} costs less ({self._whole(cheapest)}) and isn't shown to be worse, but it scores "
            f"{points(cheapest.behind.difference.value)} lower ({points_interval(cheapest.behind.difference)})."
        )

    def foundation(self, verdict: Verdict | None) -> str:
        """Whether a foundation model pays, said of the best way with one and the best without."""
        if verdict is None:
            return ""
        without = next(way for way in self.ways if way.kind == "baseline")
        with_one = next(way for way in self.ways if way.kind != "baseline")
        prices = f"{self._thousand(without)} for 1,000 requests against {self._thousand(with_one)} of {with_one.name}"
        if verdict == "not worth it":
            return (
                f"A foundation model isn't worth its cost on this task: {with_one.name}, the best way with one, scores "
                f"{percent(with_one.score.value)}, and 1,000 requests cost {self._thousand(with_one)} against "
                f"{self._thousand(self.taken)}."
            )
        if without.behind is None:  # the best, and a way with a foundation model that is as good costs less
            return (
                f"A foundation model isn't shown to be needed: {without.name}, without one, scores highest, at "
                f"{prices}."
            )
        behind = f"{points(without.behind.difference.value)} behind ({points_interval(without.behind.difference)})"
        if verdict == "undecided":
            return (
                f"A foundation model isn't shown to be needed: {without.name}, without one, is {behind}, at {prices}."
            )
        return (
            f"A foundation model is worth having here: without one the best is {without.name}, {behind}, at {prices}."
        )

    def volume(self) -> str:
        """At which volume, not far from the one that is reckoned for, the advice would be another."""
        found = self.taken.break_even
        if found is None or found.requests is None:
            return ""
        if not self.config.requests / FAR <= found.requests <= self.config.requests * FAR:
            return ""
        if found.cheaper == "from" and found.requests <= self.config.requests:
            return f"For fewer than about {rounded(found.requests)} requests {found.against}, as good, costs less."
        if found.cheaper == "until" and found.requests >= self.config.requests:
            return f"For more than about {rounded(found.requests)} requests {found.against}, as good, costs less."
        return ""

    @property
    def _volume(self) -> str:
        return f"one fit and {self.config.requests:,} requests"

    def _costs(self, way: WayResult) -> str:
        return f"{self._volume[0].upper()}{self._volume[1:]} cost {self._whole(way)}."

    def _whole(self, way: WayResult) -> str:
        return self._money(way.whole_cost) if way.cost_known else "an unknown amount"

    def _thousand(self, way: WayResult) -> str:
        return self._money(way.cost_1000) if way.cost_known else "an unknown amount"

    def _money(self, amount: float) -> str:
        return money(amount, self.config.prices.currency)
