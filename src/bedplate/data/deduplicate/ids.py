"""Records whose own id was there before in the same source, wherever in it that was: only the first is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.data.corpus import ParquetTable
from bedplate.data.curation.record_id import RECORD_ID
from bedplate.data.curation.shards import VERDICTS, Decision, Shards
from bedplate.data.deduplicate import index, verdicts
from bedplate.data.deduplicate.facts import ID, RANK, ArrayWriter
from bedplate.data.deduplicate.runs import Part, RunWriter, key_count, ranges, take
from bedplate.data.deduplicate.verdicts import Rows
from bedplate.data.engine.tasks import Run, Task, perform, task_folder
from bedplate.errors import InputError, UserError

REASON = "duplicate_id"
SETTINGS: dict[str, Any] = {"by": RECORD_ID}
"""What an index of ids depends on."""
_LONGEST = 200
_VERDICT = {"row": "int32", "reason": "string", "detail": "string", "other": "string"}


def run_it(shards: Shards, labels: Sequence[str], run: Run, *, earlier: Path | None = None) -> Decision:
    """Drop every document whose own id a document before it in the same source has: `duplicate_id`. What is compared
    is the id's hash (`record_id`): of ids that hold personal data only a mask is written.

    labels: the sources that have an `id_field`. A first one that another stage left out counts too, so that what is
    dropped depends on the sources alone. earlier: the index of a corpus that was there before. Memory: as `exact`.
    """
    before = _earlier(earlier)
    arguments = {"shards": shards, "labels": frozenset(labels)}
    tasks = [Task(shard, arguments | {"shard": shard}) for shard in range(shards.count)]
    perform("ids-keys", f"{__name__}:write_keys", tasks, run)
    rows = Rows.of(shards, run.folder / "ids-keys", before)
    cuts = ranges(key_count(rows.all))
    tasks = [Task(i, {"rows": rows, "first": first, "end": end}) for i, (first, end) in enumerate(cuts)]
    found = perform("ids-groups", "bedplate.data.deduplicate.exact:find_groups", tasks, run)
    folders = [task_folder(run.folder / "ids-groups", i) for i in range(len(cuts))]
    files = [path for folder in folders for path in sorted(folder.glob("members-*.npy"))]
    tasks = [Task(i, {"shards": shards, "shard": i, "rows": rows, "members": files}) for i in range(shards.count)]
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
    """The task of a shard: the hashes of its documents' own ids, and what these documents are called here."""
    shards, shard = arguments["shards"], arguments["shard"]
    labels: frozenset[str] = arguments["labels"]
    writer = RunWriter(folder, wide=True)
    names = ArrayWriter(folder / ID, (shards.rows(shard), 12), np.uint8)
    ArrayWriter(folder / RANK, (shards.rows(shard),), np.int64).close()  # all alike: the first of them stays
    for numbers, batch in shards.read(shard, ["label", RECORD_ID, "id"], alive=False):
        rows, keys, called = [], [], []
        columns = (batch.column(name).to_pylist() for name in ("label", RECORD_ID, "id"))
        for row, label, own, name in zip(numbers.tolist(), *columns, strict=True):
            if label in labels and own is not None:
                rows.append(row)
                key = f"{len(label)} {label}{own}".encode("utf-8", "surrogatepass")
                keys.append(hashlib.blake2b(key, digest_size=16).digest())
                called.append(bytes.fromhex(name) if name else bytes(12))
        if rows:
            some = np.array(rows, dtype=np.int64)
            halves = np.frombuffer(b"".join(keys), dtype="<u8").reshape(-1, 2)
            writer.add(halves[:, 0], some, halves[:, 1])
            names.put(some, np.frombuffer(b"".join(called), dtype=np.uint8).reshape(-1, 12))
    writer.flush()
    names.close()
    return {}


def write_verdicts(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task of a shard: which of its documents go. `other` is the first, where that has a text."""
    rows, shards, shard = arguments["rows"], arguments["shards"], arguments["shard"]
    part, alive = rows.shards[shard], shards.alive(shard)
    dropped = 0
    with ParquetTable(folder, VERDICTS.removesuffix(".parquet"), _VERDICT, single=True) as table:
        metadata = _metadata(shards, shard)
        for _, _, found in verdicts.members(arguments["members"], part):
            lost = found[(found["row"] != found["kept"]) & alive[found["row"] - part.start]]
            if not len(lost):
                continue
            others = take(rows.all, ID, np.ascontiguousarray(lost["kept"]))
            for row, other in zip((lost["row"] - part.start).tolist(), others, strict=True):
                own = next(text for number, text in metadata if number == row)
                detail = f"the id {_shown(own)} was there before"
                name = other.tobytes().hex() if other.any() else None
                table.add({"row": row, "reason": REASON, "detail": detail, "other": name})
            dropped += len(lost)
    return {"read": int(alive.sum()), "dropped": {REASON: dropped} if dropped else {}}


def _metadata(shards: Shards, shard: int) -> Iterator[tuple[int, str | None]]:
    for numbers, batch in shards.read(shard, ["metadata"], alive=False):
        for number, metadata in zip(numbers.tolist(), batch.column("metadata"), strict=True):
            yield number, metadata.as_py()


def _shown(metadata: str | None) -> str:
    return repr((_id(metadata) or "")[:_LONGEST].encode("utf-8", "replace").decode())


def _id(metadata: str | None) -> str | None:
    own = json.loads(metadata).get("id") if metadata else None
    return None if own is None else str(own)
