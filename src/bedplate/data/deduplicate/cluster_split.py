"""The side of the split on which each cluster is: that of the document that it is called by, if it isn't too large.

Resemblance goes on from one document to the next, so a chain of versions of one page can hang a great part of a corpus
together, which one draw would then put aside for validation. So a cluster of several documents whose text is more than
half of the share that validation is to have goes to train. Where that leaves nothing for validation at all, as in a
corpus of few and large groups, only one does that is more than half of the corpus.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.data.curation.shards import COLUMNS, Shards
from bedplate.data.curation.splitting import split_of
from bedplate.data.deduplicate import verdicts
from bedplate.data.deduplicate.facts import BYTES, NAME
from bedplate.data.deduplicate.runs import I64, take
from bedplate.data.deduplicate.verdicts import Rows
from bedplate.data.engine.tasks import Run, Task, perform, task_folder

MOST = 0.5
"""Of the corpus: a cluster that has more of it always goes to train."""
LARGE = "large.npy"
"""int64 [N, 2], sorted: the rows by which large clusters are called, and their bytes."""
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Splits:
    """The folder of the step that wrote them, how many documents have one, and what is to be said of the clusters."""

    folder: Path
    documents: int
    measures: dict[str, Any]


def decide_splits(shards: Shards, rows: Rows, members: Path, validation: float, run: Run) -> Splits:
    """Write `cluster` and `split` of every document. members: the file of those that have a cluster with others.

    Measures: largest, the name of the largest cluster of several documents, if there is one; largest_share, its share
    of the text; and too_large, how many went to train for their size.
    """
    limit = min(validation / 2, MOST)
    asked = {"rows": rows, "members": members, "limit": limit}
    (sizes,) = perform("cluster-sizes", f"{__name__}:measure", [Task(0, asked)], run)
    told: dict[str, Any] = {"rows": rows, "shards": shards, "members": [members], "validation": validation}
    told["large"] = task_folder(run.folder / "cluster-sizes", 0) / LARGE
    for step, share in (("clusters", limit), ("clusters-again", MOST)):
        told["least"] = share * sizes["bytes"]
        tasks = [Task(shard, told | {"shard": shard}) for shard in range(shards.count)]
        said = perform(step, f"{__name__}:write_clusters", tasks, run)
        if any(one["validation"] for one in said):
            break
    bound = np.load(told["large"])
    measures = {name: value for name, value in sizes.items() if name.startswith("largest")}
    measures["too_large"] = int((bound[:, 1] > told["least"]).sum())
    return Splits(run.folder / step, sum(one["read"] for one in said), measures)


def measure(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """How large clusters of several documents are. Memory: 16 bytes for each document of one."""
    rows: Rows = arguments["rows"]
    total = 0
    for part in rows.all:
        total += int(np.load(part.folder / BYTES).sum())
    table = np.load(arguments["members"], mmap_mode="r")
    at: I64 = np.array(table["row"])
    sums = np.zeros(len(at), dtype=np.int64)
    for first in range(0, len(at), _BLOCK):
        block = np.array(table[first : first + _BLOCK])
        sizes = take(rows.all, BYTES, at[first : first + _BLOCK]).view(np.int64)
        np.add.at(sums, np.searchsorted(at, np.ascontiguousarray(block["kept"])), sizes)
    large = np.flatnonzero(sums > arguments["limit"] * total)
    np.save(folder / LARGE, np.stack((at[large], sums[large]), axis=1))
    if not len(sums) or not total:
        return {"bytes": total, "largest_share": 0.0}
    largest = int(sums.argmax())
    name = take(rows.all, NAME, at[largest : largest + 1]).tobytes().hex()
    return {"bytes": total, "largest": name, "largest_share": int(sums[largest]) / total}


def write_clusters(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task of a shard: its documents' clusters and splits, in `columns.parquet`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, shard = arguments["rows"], arguments["shard"]
    large = np.load(arguments["large"])
    large = large[large[:, 1] > arguments["least"], 0]
    part = rows.shards[shard]
    alive = arguments["shards"].alive(shard)
    validation = 0
    schema = pa.schema([("row", pa.int32()), ("cluster", pa.string()), ("split", pa.string())])
    with pq.ParquetWriter(folder / COLUMNS, schema) as out:
        for first, end, found in verdicts.members(arguments["members"], part):
            hashes = np.array(np.load(part.folder / NAME, mmap_mode="r")[first:end])
            bound = np.zeros(end - first, dtype=bool)
            if len(found):
                kept = np.ascontiguousarray(found["kept"])
                here = found["row"] - part.start - first
                hashes[here], bound[here] = take(rows.all, NAME, kept), np.isin(kept, large)
            here = np.flatnonzero(alive[first:end])
            names = [one.tobytes().hex() for one in hashes[here]]
            splits = [
                "train" if fixed else split_of(name, arguments["validation"])
                for name, fixed in zip(names, bound[here].tolist(), strict=True)
            ]
            validation += splits.count("validation")
            table = {"row": (here + first).astype(np.int32), "cluster": names, "split": splits}
            out.write_table(pa.table(table, schema=schema))
    return {"read": int(alive.sum()), "validation": validation}
