"""What each rule of a configuration says of the columns of one document, after the fact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bedplate.data.documents import Value
from bedplate.data.filters.config import FiltersConfig
from bedplate.data.filters.rules import OneOf, rules_of
from bedplate.data.filters.step import bounds_of, failure

Verdict = Literal["passed", "failed", "not measured"]


@dataclass(frozen=True)
class Judgement:
    """One rule's. bound: in words, "0.3 at most"; detail: why it failed."""

    rule: str
    column: str
    value: Value
    bound: str
    verdict: Verdict
    detail: str | None

    def facts(self) -> dict[str, Any]:
        return asdict(self)


def judge(config: FiltersConfig, columns: Mapping[str, Value]) -> list[Judgement]:
    """What every rule says of a document with these columns, in the rules' order, as the step judged it."""
    judgements = []
    for rule in rules_of(config):
        value = columns.get(rule.column)
        detail = failure(rule, bounds_of(rule), value)
        verdict: Verdict = "failed" if detail else "not measured" if value is None else "passed"
        if isinstance(rule, OneOf):
            bound = f"one of {', '.join(rule.values)}"
        else:
            least = None if rule.min is None else f"{rule.min:g} at least"
            most = None if rule.max is None else f"{rule.max:g} at most"
            bound = ", ".join(part for part in (least, most) if part)
        judgements.append(Judgement(rule.name, rule.column, value, bound, verdict, detail))
    return judgements
