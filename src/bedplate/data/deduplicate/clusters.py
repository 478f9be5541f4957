"""Clusters of documents that must be on one side of a split: loosely alike, equal, or of one group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bedplate.data.curation.shards import COLUMNS, Decision, Shards
from bedplate.data.deduplicate import verdicts
from bedplate.data.deduplicate.bands import bucket_links
from bedplate.data.deduplicate.config import ClusterConfig, MinHashConfig, banding
from bedplate.data.deduplicate.facts import SHA256
from bedplate.data.deduplicate.minhash import LINKS, shingle_settings, sign_tasks
from bedplate.data.deduplicate.runs import expanded, groups, key_count, ranges, read_range
from bedplate.data.deduplicate.verdicts import Rows
from bedplate.data.engine.tasks import Run, Task, perform, task_folder

_MINHASH = "bedplate.data.deduplicate.minhash"


def run_it(
    shards: Shards, config: ClusterConfig, run: Run, *, signed: tuple[MinHashConfig, Path] | None = None
) -> Decision:
    """Give every document that is left its `cluster`: the least SHA-256 of those that it hangs together with, which is
    its own where it is alone. Two documents of different clusters are of different groups, and were not found alike.

    signed: the configuration of `minhash` and the folder of its step "minhash-keys", whose signatures are used again
    where they were made of the same shingles and the text hasn't changed since.
    """
    reuse = signed is not None and shingle_settings(signed[0]) == shingle_settings(config)
    hashes = int(np.prod(signed[0].banding)) if reuse and signed else None
    bands, rows = banding(config.threshold, hashes) if hashes else banding(config.threshold)
    tasks = sign_tasks(
        shards, config, bands, rows, hashes=hashes, signed=signed[1] if reuse and signed else None, grouped=True
    )
    made = perform("cluster-keys", f"{_MINHASH}:write_signatures", tasks, run)
    where = Rows.of(shards, run.folder / "cluster-keys")
    files, kinds = [], []
    for kind, threshold in (("run", config.threshold), ("group", None)):
        cuts = ranges(key_count(where.all, kind))
        step = f"cluster-links-{kind}"
        arguments = {"rows": where, "threshold": threshold, "kind": kind}
        asked = [Task(i, arguments | {"first": first, "end": end}) for i, (first, end) in enumerate(cuts)]
        kinds += perform(step, f"{__name__}:find_links", asked, run)
        files += [task_folder(run.folder / step, i) / LINKS for i in range(len(cuts))]
    (joined,) = perform(
        "cluster-join", f"{_MINHASH}:join", [Task(0, {"rows": where, "links": files, "by": "hash"})], run
    )
    folders = [task_folder(run.folder / "cluster-join", 0)]
    tasks = [
        Task(i, {"part": where.shards[i], "shards": shards, "shard": i, "members": folders})
        for i in range(shards.count)
    ]
    said = perform("clusters", f"{__name__}:write_clusters", tasks, run)
    read = sum(one["read"] for one in said)
    measures = {"read": read, "kept": read, "dropped": {}, "failed": {}}
    measures |= {"groups": joined["groups"], "largest_group": joined["largest"]}
    return Decision(run.folder / "clusters", measures | {"signatures_reused": sum(one["reused"] for one in made)})


def find_links(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task of a range of keys, of bands or of groups: the links that it finds."""
    rows: Rows = arguments["rows"]
    if arguments["kind"] == "run":
        links, _ = bucket_links(rows.all, arguments["first"], arguments["end"], arguments["threshold"])
    else:
        keys, low, at = read_range(rows.all, arguments["first"], arguments["end"], kind=arguments["kind"])
        begins, sizes = groups(keys, low)
        places, number = expanded(begins, sizes)
        links = np.stack([at[begins[number]], at[places]], axis=1)[places != begins[number]]
    np.save(folder / LINKS, links)
    return {"linked": len(links)}


def write_clusters(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task of a shard: its documents' clusters, in `columns.parquet`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    part, shards = arguments["part"], arguments["shards"]
    alive = np.flatnonzero(shards.alive(arguments["shard"]))
    found = verdicts.members(arguments["members"], part)
    schema = pa.schema([("row", pa.int32()), ("cluster", pa.string())])
    with pq.ParquetWriter(folder / COLUMNS, schema) as out:
        for first in range(0, len(alive), 1 << 14):
            rows = alive[first : first + (1 << 14)]
            hashes = np.array(np.load(part.folder / SHA256, mmap_mode="r")[rows])
            at = np.searchsorted(rows, found["row"] - part.start)
            here = (at < len(rows)) & (rows[np.minimum(at, len(rows) - 1)] == found["row"] - part.start)
            hashes[at[here]] = found["sha256"][here]
            names = [bytes(one).hex() for one in hashes]
            out.write_table(pa.table({"row": rows.astype(np.int32), "cluster": names}, schema=schema))
    return {"read": len(alive)}
