"""The last step: a shard's survivors become a part of the corpus, the others rows of the table of what was left out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bedplate.data.corpus import CORPUS_SCHEMA, DROPPED_SCHEMA, ParquetTable
from bedplate.data.curation.rows import EXCERPT
from bedplate.data.curation.shards import COLUMNS, TEXTS, VERDICTS, Shards
from bedplate.data.curation.splitting import split_of_row
from bedplate.data.engine.tasks import task_folder
from bedplate.data.synthetic_share import SyntheticShare

PART, LEFT_OUT = "part.parquet", "dropped.parquet"
COUNTED = ("split", "license", "language", "label")


def write_shard(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write `part.parquet` and `dropped.parquet` of one shard. arguments: shards, shard, names (of the joint steps),
    columns (the steps' own), validation.

    Measures: documents and bytes by each column of COUNTED, documents by domain, by label and licence, and those that
    a model wrote.
    """
    shards, shard, columns = arguments["shards"], arguments["shard"], arguments["columns"]
    decided = _Decided(shards, shard, arguments["names"])
    count = _Counts()
    with (
        ParquetTable(folder, "part", corpus_schema(columns), single=True) as kept,
        ParquetTable(folder, "dropped", dropped_schema(columns), single=True) as left_out,
    ):
        for row in _rows(shards, shard, decided.changed):
            number = row.pop("number")
            row |= decided.columns.get(number, {})
            if number in decided.verdicts:
                row = _excerpted(row | decided.verdicts[number])
                left_out.add(row)
                count.left_out(row)
            elif row["status"] != "kept":
                left_out.add(row)
                count.left_out(row)
            else:
                clustered = "cluster" in decided.columns.get(number, {})
                row["split"] = split_of_row(row, arguments["validation"], clustered=clustered)
                row["copies"] = row.get("copies") or 1
                kept.add(row)
                count.kept(row)
    return count.measures()


def corpus_schema(columns: Mapping[str, str]) -> dict[str, str]:
    """The corpus' columns, with those of the steps."""
    return CORPUS_SCHEMA | {name: kind for name, kind in columns.items() if name not in CORPUS_SCHEMA}


def dropped_schema(columns: Mapping[str, str]) -> dict[str, str]:
    """The columns of what was left out, with those of the steps."""
    return DROPPED_SCHEMA | {name: kind for name, kind in columns.items() if name not in DROPPED_SCHEMA | CORPUS_SCHEMA}


class _Decided:
    """What the joint steps said of a shard's rows."""

    def __init__(self, shards: Shards, shard: int, names: list[str]) -> None:
        import pyarrow.parquet as pq

        self.verdicts: dict[int, dict[str, Any]] = {}
        self.columns: dict[int, dict[str, Any]] = {}
        self.changed: set[int] = set()
        for name, folder in zip(names, shards.decided, strict=True):
            place = task_folder(folder, shard)
            if (path := place / VERDICTS).is_file():
                for row in pq.read_table(path).to_pylist():
                    fate = {"status": "dropped", "stage": name} | {k: row[k] for k in ("reason", "detail", "other")}
                    self.verdicts.setdefault(row["row"], fate)
            if (path := place / COLUMNS).is_file():
                for row in pq.read_table(path).to_pylist():
                    self.columns.setdefault(row.pop("row"), {}).update(row)
            if (path := place / TEXTS).is_file():
                self.changed.update(pq.read_table(path, columns=["row"]).column("row").to_pylist())


def _rows(shards: Shards, shard: int, changed: set[int]) -> Iterator[dict[str, Any]]:
    """Every row of a shard, with its number, its text as it is now, and its size and hashes to go with it."""
    import pyarrow.parquet as pq

    names = pq.read_schema(shards.path(shard)).names
    for numbers, batch in shards.read(shard, names, alive=False):
        for number, row in zip(numbers.tolist(), batch.to_pylist(), strict=True):
            if number in changed and row["text"] is not None:
                data = row["text"].encode()
                row["sha256"] = hashlib.sha256(data).hexdigest()
                row["id"], row["bytes"] = row["sha256"][:24], len(data)
            yield row | {"number": number}


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
            value = row[name] if row[name] is not None else ""
            self._documents[name][value] += 1
            self._bytes[name][value] += row["bytes"]
        if row["domain"]:
            self._domains[row["domain"]] += 1
        self._fates[row["label"], "kept"] += 1
        self._terms[row["label"], row["license"] or "unknown"] += 1
        self._synthetic.add(row["synthetic"], row["split"], row["bytes"])

    def left_out(self, row: dict[str, Any]) -> None:
        self._fates[row["label"], row["status"]] += 1

    def measures(self) -> dict[str, Any]:
        return {
            "documents": {name: dict(counter) for name, counter in self._documents.items()},
            "bytes": {name: dict(counter) for name, counter in self._bytes.items()},
            "domains": dict(self._domains.most_common()),
            "terms": [[label, license, n] for (label, license), n in sorted(self._terms.items())],
            "synthetic": self._synthetic.measures(),
            "fates": {" ".join((fate, label)): n for (label, fate), n in sorted(self._fates.items())},
        }
