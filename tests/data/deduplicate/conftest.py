"""Shards made by hand, and the runs that work on them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedplate.console import Console
from bedplate.data.curation.shards import COLUMNS, VERDICTS, Decision, Shards
from bedplate.data.engine.tasks import InProcess, Job, Run, task_folder


class Backwards(InProcess):
    """The scheduler that does the last job first."""

    def run(self, jobs: list[Job]):
        return super().run(list(reversed(jobs)))


@pytest.fixture
def make_shards():
    """make_shards(folder, rows, per_shard): rows are texts, or dicts of columns with a text."""

    def make(folder: Path, rows: list, per_shard: int = 1000) -> Shards:
        rows = [{"text": row} if isinstance(row, str) else row for row in rows]
        number = 0
        for first in range(0, max(len(rows), 1), per_shard):
            table = []
            for row in rows[first : first + per_shard]:
                sha256 = hashlib.sha256(row["text"].encode()).hexdigest()
                known = {"id": sha256[:24], "sha256": sha256, "status": "kept", "bytes": len(row["text"].encode())}
                table.append(dict.fromkeys(("date", "license", "group", "image_hash", "picture")) | known | row)
            schema = pa.schema(
                {name: pa.string() for name in ("text", "id", "sha256", "status", "date", "license", "group")}
                | {"image_hash": pa.string(), "picture": pa.string(), "bytes": pa.int64()}
            )
            task_folder(folder, number).mkdir(parents=True)
            path = task_folder(folder, number) / "documents.parquet"
            pq.write_table(pa.Table.from_pylist(table, schema), path, row_group_size=7)
            number += 1
        return Shards(folder, number)

    return make


@pytest.fixture
def make_run():
    """make_run(folder, backwards=False): where steps leave their folders, and who does them."""

    def make(folder: Path, *, backwards: bool = False) -> Run:
        run = Run(folder, InProcess(), Console.quiet())
        return replace(run, scheduler=Backwards()) if backwards else run

    return make


@pytest.fixture
def told():
    """told(shards, decision): what was said of each row of all shards, in order: reason and other, or nothing."""

    def read(shards: Shards, decision: Decision) -> list[tuple[str, str] | None]:
        said: list[tuple[str, str] | None] = []
        for shard in range(shards.count):
            here: list[tuple[str, str] | None] = [None] * shards.rows(shard)
            path = task_folder(decision.folder, shard) / VERDICTS
            if path.is_file():
                for row in pq.read_table(path).to_pylist():
                    here[row["row"]] = (row["reason"], row["other"])
            said += here
        return said

    return read


@pytest.fixture
def column():
    """column(shards, decision, name): a column that a step gave, for every row of all shards."""

    def read(shards: Shards, decision: Decision, name: str) -> list:
        said: list = []
        for shard in range(shards.count):
            here = [None] * shards.rows(shard)
            path = task_folder(decision.folder, shard) / COLUMNS
            if path.is_file():
                for row in pq.read_table(path).to_pylist():
                    here[row["row"]] = row.get(name)
            said += here
        return said

    return read
