"""What each rule would drop, before anything is dropped: `preview`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bedplate.data.filters.config import FiltersConfig, Rule
from bedplate.data.filters.rules import OneOf, check_columns, rules_of

Bools = NDArray[np.bool_]


@dataclass
class RulePreview:
    """What one rule does to a corpus."""

    rule: str
    column: str
    alone: int = 0
    """How many documents fail it."""
    only: int = 0
    """How many of these fail no other rule: so many more are kept without it."""
    first: int = 0
    """For how many it is the reason given, being the first that they fail."""
    samples: list[str] = field(default_factory=list)
    """Ids of some that fail it, those that only it would drop before others, in the table's order."""


@dataclass
class Preview:
    """What the rules do together."""

    documents: int = 0
    dropped: int = 0
    rules: list[RulePreview] = field(default_factory=list)


def preview(table: pa.Table | Iterable[pa.RecordBatch], config: FiltersConfig, *, samples: int = 5) -> Preview:
    """What each rule would drop of the documents of a table, which has their columns and `id`.

    Batches are looked at one by one and not kept. Raises UserError for a rule whose column the table lacks.
    """
    rules = rules_of(config)
    result = Preview(rules=[RulePreview(rule.name, rule.column) for rule in rules])
    others: list[list[str]] = [[] for _ in rules]
    for batch in table.to_batches() if isinstance(table, pa.Table) else table:
        check_columns(
            config, {name: str(kind) for name, kind in zip(batch.schema.names, batch.schema.types, strict=True)}
        )
        fails = np.zeros((len(rules), batch.num_rows), dtype=np.bool_)
        for number, rule in enumerate(rules):
            fails[number] = _fails(rule, batch.column(rule.column))
        failed = fails.sum(axis=0)
        firsts = np.where(failed > 0, fails.argmax(axis=0), -1) if rules else np.empty(0)
        result.documents += batch.num_rows
        result.dropped += int(np.count_nonzero(failed))
        for number, seen in enumerate(result.rules):
            only = fails[number] & (failed == 1)
            seen.alone += int(np.count_nonzero(fails[number]))
            seen.only += int(np.count_nonzero(only))
            seen.first += int(np.count_nonzero(firsts == number))
            _sample(seen.samples, batch, only, samples)
            _sample(others[number], batch, fails[number] & ~only, samples)
    for seen, more in zip(result.rules, others, strict=True):
        seen.samples += more[: samples - len(seen.samples)]
    return result


def _fails(rule: Rule | OneOf, column: pa.Array) -> Bools:
    """Which values fail a rule [rows], as the step judges them."""
    if isinstance(rule, OneOf):
        return ~_bools(pc.is_in(column, value_set=pa.array(rule.values, type=column.type)))
    stored = pa.float32() if pa.types.is_floating(column.type) else pa.float64()
    values = column.cast(stored, safe=False).to_numpy(zero_copy_only=False)
    outside = np.zeros(len(values), dtype=np.bool_)
    if rule.min is not None:
        outside |= values < np.float32(rule.min)
    if rule.max is not None:
        outside |= values > np.float32(rule.max)
    return outside | np.isnan(values) if rule.missing == "drop" else outside


def _bools(values: pa.BooleanArray) -> Bools:
    return np.asarray(values.fill_null(False).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _sample(ids: list[str], batch: pa.RecordBatch, chosen: Bools, most: int) -> None:
    rows = np.flatnonzero(chosen)[: most - len(ids)]
    ids.extend(batch.column("id").take(pa.array(rows)).to_pylist())
