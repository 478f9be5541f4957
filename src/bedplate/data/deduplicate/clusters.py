"""Clusters of documents that must be on one side of a split: loosely alike, equal, or of one group."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.data.curation.shards import COLUMNS, Decision, Shards
from bedplate.data.deduplicate import verdicts
from bedplate.data.deduplicate.bands import bucket_links
from bedplate.data.deduplicate.components import LinkWriter
from bedplate.data.deduplicate.config import ClusterConfig, MinHashConfig, banding
from bedplate.data.deduplicate.facts import SHA256
from bedplate.data.deduplicate.minhash import shingle_settings, sign_tasks
from bedplate.data.deduplicate.runs import (
    I64,
    expanded,
    groups,
    key_count,
    light,
    of_key,
    ranges,
    read_range,
    take,
)
from bedplate.data.deduplicate.verdicts import MEMBERS, Rows
from bedplate.data.engine.tasks import Run, Task, perform, task_folder

_MINHASH = "bedplate.data.deduplicate.minhash"


def run_it(
    shards: Shards, config: ClusterConfig, run: Run, *, signed: tuple[MinHashConfig, Path] | None = None
) -> Decision:
    """Give every document that is left its `cluster`: the least hash of those that it hangs together with, which is its
    own where it is alone. Two documents of different clusters are of different groups, have different pictures, and
    were not found alike.

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
    links = []
    for kind, threshold in (("run", config.threshold), ("group", None)):
        cuts = ranges(key_count(where.all, kind))
        step = f"cluster-links-{kind}"
        arguments = {"rows": where, "threshold": threshold, "kind": kind}
        asked = [Task(i, arguments | {"first": first, "end": end}) for i, (first, end) in enumerate(cuts)]
        perform(step, f"{__name__}:find_links", asked, run)
        links += [task_folder(run.folder / step, i) for i in range(len(cuts))]
    (joined,) = perform(
        "cluster-join", f"{_MINHASH}:join", [Task(0, {"rows": where, "links": links, "by": "hash"})], run
    )
    files = [task_folder(run.folder / "cluster-join", 0) / MEMBERS]
    tasks = [Task(i, {"rows": where, "shards": shards, "shard": i, "members": files}) for i in range(shards.count)]
    said = perform("clusters", f"{__name__}:write_clusters", tasks, run)
    read = sum(one["read"] for one in said)
    measures = {"read": read, "kept": read, "dropped": {}, "failed": {}}
    measures |= {"groups": joined["groups"], "largest_group": joined["largest"]}
    return Decision(run.folder / "clusters", measures | {"signatures_reused": sum(one["reused"] for one in made)})


def find_links(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task of a range of keys, of bands or of groups: the links that it finds."""
    rows: Rows = arguments["rows"]
    out = LinkWriter(folder)
    if arguments["kind"] == "run":
        bucket_links(rows.all, arguments["first"], arguments["end"], arguments["threshold"], out)
    else:
        for first, end in light(rows.all, arguments["first"], arguments["end"], arguments["kind"]):
            for links in _link_all(rows, first, end, arguments["kind"]):
                out.add(links)
    out.flush()
    return {"linked": out.written}


def _link_all(rows: Rows, first: int, end: int, kind: str) -> Iterator[I64]:
    """Links between the first that has a key and all others that have it."""
    if end - first == 1:
        head: I64 | None = None
        for _, at in of_key(rows.all, first, kind=kind):
            head = at[:1] if head is None else head
            yield np.stack([np.repeat(head, len(at)), at], axis=1)[at != head]
        return
    keys, low, at = read_range(rows.all, first, end, kind=kind)
    begins, sizes = groups(keys, low)
    places, number = expanded(begins, sizes)
    yield np.stack([at[begins[number]], at[places]], axis=1)[places != begins[number]]


def write_clusters(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task of a shard: its documents' clusters, in `columns.parquet`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, shard = arguments["rows"], arguments["shard"]
    part = rows.shards[shard]
    alive = arguments["shards"].alive(shard)
    schema = pa.schema([("row", pa.int32()), ("cluster", pa.string())])
    with pq.ParquetWriter(folder / COLUMNS, schema) as out:
        for first, end, found in verdicts.members(arguments["members"], part):
            hashes = np.array(np.load(part.folder / SHA256, mmap_mode="r")[first:end])
            if len(found):
                kept = take(rows.all, SHA256, np.ascontiguousarray(found["kept"]))
                hashes[found["row"] - part.start - first] = kept
            here = np.flatnonzero(alive[first:end])
            names = [one.tobytes().hex() for one in hashes[here]]
            out.write_table(pa.table({"row": (here + first).astype(np.int32), "cluster": names}, schema=schema))
    return {"read": int(alive.sum())}
