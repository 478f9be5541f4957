"""Records whose own id was there before in the same source, wherever in it that was: only the first is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.data.curation.shards import VERDICTS, Decision, Shards
from bedplate.data.deduplicate import index, verdicts
from bedplate.data.deduplicate.facts import SHA256, ArrayWriter
from bedplate.data.deduplicate.runs import Part, RunWriter, expanded, groups, key_count, ranges, read_range
from bedplate.data.deduplicate.verdicts import MEMBERS, Rows
from bedplate.data.engine.tasks import Run, Task, perform, task_folder
from bedplate.errors import InputError, UserError

REASON = "duplicate_id"
SETTINGS: dict[str, Any] = {}
"""What an index of ids depends on."""
_LONGEST = 200


def run_it(shards: Shards, labels: Sequence[str], run: Run, *, earlier: Path | None = None) -> Decision:
    """Drop every document whose id (`metadata["id"]`) a document before it in the same source has: `duplicate_id`.

    labels: the sources that have an `id_field`. A first one that another stage left out counts too, so that what is
    dropped depends on the sources alone. earlier: the index of a corpus that was there before. Memory: 60 bytes for
    each document of a range of keys, of which there are about half a million.
    """
    before = _earlier(earlier)
    arguments = {"shards": shards, "labels": frozenset(labels)}
    tasks = [Task(shard, arguments | {"shard": shard}) for shard in range(shards.count)]
    perform("ids-keys", f"{__name__}:write_keys", tasks, run)
    rows = Rows.of(shards, run.folder / "ids-keys", before)
    cuts = ranges(key_count(rows.all))
    tasks = [Task(i, {"rows": rows, "first": first, "end": end}) for i, (first, end) in enumerate(cuts)]
    found = perform("ids-groups", f"{__name__}:find_groups", tasks, run)
    folders = [task_folder(run.folder / "ids-groups", i) for i in range(len(cuts))]
    tasks = [Task(i, {"shards": shards, "part": part, "members": folders}) for i, part in enumerate(rows.shards)]
    said = perform("ids", f"{__name__}:write_verdicts", tasks, run)
    measures = verdicts.summed(said, sum(f["groups"] for f in found), max((f["largest"] for f in found), default=0))
    return Decision(run.folder / "ids", measures)


def _earlier(folder: Path | None) -> tuple[Part, ...]:
    try:
        return () if folder is None else index.read(folder, "ids", SETTINGS)
    except UserError as error:
        raise InputError(
            f"{folder}: the earlier corpus was curated without `id_field`, so its records' ids aren't known",
            "Leave out id_field, or curate the earlier corpus again with it.",
        ) from error


def write_keys(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task of a shard: the hashes of its documents' ids, and of their texts."""
    shards, shard = arguments["shards"], arguments["shard"]
    labels: frozenset[str] = arguments["labels"]
    writer = RunWriter(folder, wide=True)
    hashes = ArrayWriter(folder / SHA256, (shards.rows(shard), 32), np.uint8)
    for numbers, batch in shards.read(shard, ["label", "metadata", "sha256"], alive=False):
        rows, keys, texts = [], [], []
        columns = (batch.column(name).to_pylist() for name in ("label", "metadata", "sha256"))
        for row, label, metadata, sha256 in zip(numbers.tolist(), *columns, strict=True):
            if label in labels and (own := _id(metadata)) is not None:
                rows.append(row)
                key = f"{len(label)} {label}{own}".encode("utf-8", "surrogatepass")
                keys.append(hashlib.blake2b(key, digest_size=16).digest())
                texts.append(bytes.fromhex(sha256) if sha256 else bytes(32))
        if rows:
            some = np.array(rows, dtype=np.int64)
            halves = np.frombuffer(b"".join(keys), dtype="<u8").reshape(-1, 2)
            writer.add(halves[:, 0], some, halves[:, 1])
            hashes.put(some, np.frombuffer(b"".join(texts), dtype=np.uint8).reshape(-1, 32))
    writer.flush()
    hashes.close()
    return {}


def find_groups(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task of a range of keys: which documents have the same id, and which of them is the first."""
    rows: Rows = arguments["rows"]
    keys, low, at = read_range(rows.all, arguments["first"], arguments["end"], wide=True)
    places, labels = expanded(*groups(keys, low))
    at = at[places]
    order = np.argsort(at)
    number, largest = verdicts.decide(at[order], labels[order], np.zeros_like(at), rows.all, folder / MEMBERS)
    return {"groups": number, "largest": largest}


def write_verdicts(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task of a shard: which of its documents go. `other` is that of the first, where that has a text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    part, shards = arguments["part"], arguments["shards"]
    shard = int(part.folder.name)
    alive = shards.alive(shard)
    found = verdicts.members(arguments["members"], part)
    lost = {
        int(member["row"]) - part.start: bytes(member["sha256"][:12]).hex() if member["sha256"].any() else None
        for member in found[found["row"] != found["kept"]]
        if alive[int(member["row"]) - part.start]
    }
    if lost:
        table = {
            "row": pa.array(list(lost), pa.int32()),
            "reason": pa.array([REASON] * len(lost)),
            "detail": pa.array(_details(shards, shard, lost), pa.string()),
            "other": pa.array(list(lost.values()), pa.string()),
        }
        pq.write_table(pa.table(table), folder / VERDICTS)
    return {"read": int(alive.sum()), "dropped": {REASON: len(lost)} if lost else {}}


def _details(shards: Shards, shard: int, rows: dict[int, str | None]) -> list[str]:
    """What is said of rows of a shard, which are in order."""
    said = []
    for numbers, batch in shards.read(shard, ["metadata"], alive=False):
        for row, metadata in zip(numbers.tolist(), batch.column("metadata"), strict=True):
            if row in rows:
                own = (_id(metadata.as_py()) or "")[:_LONGEST].encode("utf-8", "replace").decode()
                said.append(f"the id {own!r} was there before")
    return said


def _id(metadata: str | None) -> str | None:
    own = json.loads(metadata).get("id") if metadata else None
    return None if own is None else str(own)
