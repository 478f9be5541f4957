"""The last step: a shard's survivors become a part of the corpus, the others rows of the table of what was left out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bedplate.data.corpus import CORPUS_SCHEMA, DROPPED_SCHEMA, ParquetTable
from bedplate.data.curation.rows import EXCERPT
from bedplate.data.curation.said import Said
from bedplate.data.curation.shards import COLUMNS, TEXTS, VERDICTS, Shards
from bedplate.data.curation.splitting import split_of_row
from bedplate.data.engine.tasks import task_folder
from bedplate.data.synthetic_share import SyntheticShare

PART, LEFT_OUT = "part.parquet", "dropped.parquet"
COUNTED = ("split", "license", "language", "label")

_MOST_DOMAINS = 10_000
"""Of one shard: what adds them up would grow with the web otherwise."""
_Fate = dict[str, Any] | None


def write_shard(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write `part.parquet` and `dropped.parquet` of one shard. arguments: shards, shard, names (of the joint steps),
    columns (the steps' own), validation.

    Measures: documents and bytes by each column of COUNTED, documents by domain, by label and licence, and those that
    a model wrote.
    """
    shards, shard, columns = arguments["shards"], arguments["shard"], arguments["columns"]
    count = _Counts()
    with (
        ParquetTable(folder, "part", corpus_schema(columns), single=True) as kept,
        ParquetTable(folder, "dropped", dropped_schema(columns), single=True) as left_out,
    ):
        decided = _Decided(shards, shard, arguments["names"])
        for row, fate, more in _rows(shards, shard, decided, arguments["validation"]):
            row |= more
            if fate is not None:
                row = _excerpted(row | fate)
                left_out.add(row)
                count.left_out(row)
            elif row["status"] != "kept":
                left_out.add(row)
                count.left_out(row)
            else:
                row["copies"] = row.get("copies") or 1
                kept.add(row)
                count.kept(row)
    return count.measures()


def corpus_schema(columns: Mapping[str, str]) -> dict[str, str]:
    """The corpus' columns, with those of the steps."""
    return CORPUS_SCHEMA | {name: kind for name, kind in columns.items() if name not in CORPUS_SCHEMA | DROPPED_SCHEMA}


def dropped_schema(columns: Mapping[str, str]) -> dict[str, str]:
    """The columns of what was left out, with those of the steps."""
    return DROPPED_SCHEMA | {name: kind for name, kind in columns.items() if name not in DROPPED_SCHEMA | CORPUS_SCHEMA}


class _Decided:
    """What the joint steps said of a shard's rows, to be asked for from the first row to the last."""

    def __init__(self, shards: Shards, shard: int, names: list[str]) -> None:
        places = [task_folder(folder, shard) for folder in shards.decided]
        self._verdicts = [
            (name, Said(place / VERDICTS))
            for name, place in zip(names, places, strict=True)
            if (place / VERDICTS).is_file()
        ]
        self._columns = [Said(place / COLUMNS) for place in places if (place / COLUMNS).is_file()]
        self._texts = [Said(place / TEXTS, []) for place in places if (place / TEXTS).is_file()]

    def verdicts(self, first: int, end: int) -> dict[int, dict[str, Any]]:
        """The fate of the rows from `first` that were left out: the first step that did has the word."""
        fates: dict[int, dict[str, Any]] = {}
        for name, said in self._verdicts:
            for row in _each(said, first, end):
                fate = {"status": "dropped", "stage": name} | {k: row[k] for k in ("reason", "detail", "other")}
                fates.setdefault(row["row"], fate)
        return fates

    def columns(self, first: int, end: int) -> dict[int, dict[str, Any]]:
        """What is known more of the rows from `first`: the last step that says something has the word."""
        known: dict[int, dict[str, Any]] = {}
        for said in self._columns:
            for row in _each(said, first, end):
                known.setdefault(row.pop("row"), {}).update(row)
        return known

    def changed(self, first: int, end: int) -> set[int]:
        """The rows from `first` whose text a step changed."""
        return {row["row"] for said in self._texts for row in _each(said, first, end)}


def _each(said: Said, first: int, end: int) -> Iterator[dict[str, Any]]:
    for batch in said.between(first, end):
        yield from batch.to_pylist()


def _rows(
    shards: Shards, shard: int, decided: _Decided, validation: float
) -> Iterator[tuple[dict[str, Any], _Fate, dict[str, Any]]]:
    """Every row of a shard, with its text as it is now and its size and hash to go with it; its fate, if a joint step
    left it out; what these know more of it, its split among that."""
    import pyarrow.parquet as pq

    names = pq.read_schema(shards.path(shard)).names
    for numbers, batch in shards.read(shard, names, alive=False):
        first, end = int(numbers[0]), int(numbers[-1]) + 1
        verdicts, columns = decided.verdicts(first, end), decided.columns(first, end)
        changed = decided.changed(first, end)
        for number, row in zip(numbers.tolist(), batch.to_pylist(), strict=True):
            more = columns.get(number, {})
            more["split"] = split_of_row(row | more, validation)  # before the text has another hash
            if number in changed and row["text"] is not None:
                row["sha256"] = hashlib.sha256(row["text"].encode()).hexdigest()  # the id stays
            yield row, verdicts.get(number), more


def _excerpted(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"excerpt": (row["text"] or "")[:EXCERPT]}


class _Counts:
    def __init__(self) -> None:
        self._documents = {name: Counter[str]() for name in COUNTED}
        self._bytes = {name: Counter[str]() for name in COUNTED}
        self._domains: Counter[str] = Counter()
        self._fates = Counter[tuple[str, str]]()
        self._terms = Counter[tuple[str, str]]()
        self._synthetic = SyntheticShare()

    def kept(self, row: dict[str, Any]) -> None:
        for name in COUNTED:
            value = row[name] if row[name] is not None else "unknown"
            self._documents[name][value] += 1
            self._bytes[name][value] += row["bytes"]
        if row["domain"]:
            self._domains[row["domain"]] += 1
        self._fates[row["label"], "kept"] += 1
        self._terms[row["label"], row["license"] or "unknown"] += 1
        self._synthetic.add(row)

    def left_out(self, row: dict[str, Any]) -> None:
        self._fates[row["label"], row["status"]] += 1

    def measures(self) -> dict[str, Any]:
        return {
            "documents": {name: dict(counter) for name, counter in self._documents.items()},
            "bytes": {name: dict(counter) for name, counter in self._bytes.items()},
            "domains": dict(self._domains.most_common(_MOST_DOMAINS)),
            "terms": [[label, license, n] for (label, license), n in sorted(self._terms.items())],
            "synthetic": self._synthetic.measures(),
            "fates": {" ".join((fate, label)): n for (label, fate), n in sorted(self._fates.items())},
        }
