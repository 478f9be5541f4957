"""Which way to take, in plain words, computed from the figures and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from bedplate.adapt.compare.results import Advice, Failed, TaskFacts, WayResult
from bedplate.adapt.compare.wording import interval, listed, money, percent, points, points_interval, rounded

FEW_EXAMPLES = 100
COARSE = 0.05
"""A test set that can't tell smaller differences than this is named as coarse."""

HAPHAZARD = "majority"


def advise(
    ways: Sequence[WayResult],
    failed: Sequence[Failed],
    task: TaskFacts,
    *,
    requests: int,
    currency: str,
    tellable: float | None,
) -> Advice:
    """Of the ways that are tied with the best, the one whose whole cost is least. ways: the best first."""
    best = ways[0]
    tied = [way for way in ways if way.group == 1]
    taken = min(tied, key=lambda way: (way.whole_cost, -way.score.value))
    worth = _worth(ways, tied)
    reasons = [
        f"Take {taken.name}: {_right(task)} {percent(taken.score.value)} of {task.test:,} test examples "
        f"({interval(taken.score)} with 95% confidence)."
    ]
    lost = any(way.way == HAPHAZARD for way in tied)
    if lost:
        share = percent(next(way.score.value for way in tied if way.way == HAPHAZARD))
        reasons = [
            f"Take none of them yet: no way is shown to do better than always answering the commonest class "
            f"({share} of {task.test:,} test examples)."
        ]
    else:
        reasons.append(_why(taken, best, tied, ways, task, requests, currency))
        reasons += _foundation(worth, ways, tied, best, currency)
        reasons += _volume(taken, requests)
    if task.test < FEW_EXAMPLES or (tellable is not None and tellable > COARSE):
        about = f": differences below about {points(tellable)} can't be told" if tellable is not None else ""
        reasons.append(f"The test set is small ({task.test:,} examples){about}. More test examples would say more.")
    if failed:
        names = list(dict.fromkeys(item.name for item in failed))
        reasons.append(f"{listed(names)} failed and {'is' if len(names) == 1 else 'are'}n't judged.")
    return Advice(
        way=taken.name,
        best=best.name,
        tied=tuple(way.name for way in tied),
        reasons=tuple(reason for reason in reasons if reason),
        worth_a_foundation_model=worth,
    )


def _right(task: TaskFacts) -> str:
    return "it tells the class of" if task.kind == "classification" else "it answers exactly"


def _why(
    taken: WayResult,
    best: WayResult,
    tied: Sequence[WayResult],
    ways: Sequence[WayResult],
    task: TaskFacts,
    requests: int,
    currency: str,
) -> str:
    volume = f"one fit and {requests:,} requests"
    if taken is not best and taken.behind is not None:
        return (
            f"{best.name} scores {percent(best.score.value)}, but the difference of "
            f"{points(taken.behind.difference.value)} ({points_interval(taken.behind.difference)}) is within what "
            f"{task.test:,} test examples can tell apart, and {volume} cost {money(taken.whole_cost, currency)} "
            f"against {money(best.whole_cost, currency)}."
        )
    others = [way.name for way in tied if way is not taken]
    if others:
        return (
            f"It scores highest and costs least among the ways that are tied with it ({listed(others)}): {volume} cost "
            f"{money(taken.whole_cost, currency)}."
        )
    following = next((way for way in ways if way.group > 1), None)
    if following is None or following.behind is None:
        return ""
    return (
        f"No other way is as good: the next, {following.name}, is {points(following.behind.difference.value)} behind "
        f"({points_interval(following.behind.difference)}). {volume[0].upper()}{volume[1:]} cost "
        f"{money(taken.whole_cost, currency)}."
    )


def _worth(ways: Sequence[WayResult], tied: Sequence[WayResult]) -> bool | None:
    if len({way.kind == "baseline" for way in ways}) < 2:
        return None
    return all(way.kind != "baseline" for way in tied)


def _foundation(
    worth: bool | None, ways: Sequence[WayResult], tied: Sequence[WayResult], best: WayResult, currency: str
) -> list[str]:
    """Whether a foundation model pays, said of the best way with one and the best without."""
    if worth is None:
        return []
    without = next(way for way in ways if way.kind == "baseline")
    with_one = next(way for way in ways if way.kind != "baseline")
    if not worth:
        if best.kind == "baseline" and with_one not in tied:
            said = f"the best way with one, {with_one.name}, scores {percent(with_one.score.value)}"
        else:
            said = f"{next(w.name for w in tied if w.kind == 'baseline')}, which needs none, is among the best"
        return [f"A foundation model isn't worth its cost on this task: {said}."]
    assert without.behind is not None
    return [
        f"A foundation model is worth having here: without one the best is {without.name}, "
        f"{points(without.behind.difference.value)} behind ({points_interval(without.behind.difference)}), at "
        f"{money(without.cost_1000, currency)} for 1,000 requests against {money(with_one.cost_1000, currency)} of "
        f"{with_one.name}."
    ]


def _volume(taken: WayResult, requests: int) -> list[str]:
    """At which volume the advice would be another."""
    found = taken.break_even
    if found is None or found.requests is None:
        return []
    if found.cheaper == "from" and found.requests <= requests:
        return [f"For fewer than about {rounded(found.requests)} requests {found.against}, as good, costs less."]
    if found.cheaper == "until" and found.requests >= requests:
        return [f"For more than about {rounded(found.requests)} requests {found.against}, as good, costs less."]
    return []
