"""Clusters of documents that must be on one side of a split: loosely alike, equal, or of one group."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.data.curation.shards import Decision, Shards
from bedplate.data.deduplicate.bands import bucket_links
from bedplate.data.deduplicate.cluster_split import decide_splits
from bedplate.data.deduplicate.components import LinkWriter
from bedplate.data.deduplicate.config import ClusterConfig, MinHashConfig, banding
from bedplate.data.deduplicate.minhash import shingle_settings, sign_tasks
from bedplate.data.deduplicate.runs import I64, expanded, groups, key_count, light, of_key, ranges, read_range
from bedplate.data.deduplicate.verdicts import MEMBERS, Rows
from bedplate.data.engine.tasks import Run, Task, perform, task_folder

LEAST_HASHES = 100
"""Of signatures that were made for something else: with fewer, what is half alike is told too badly."""
_MINHASH = "bedplate.data.deduplicate.minhash"


def run_it(
    shards: Shards,
    config: ClusterConfig,
    run: Run,
    *,
    validation: float,
    signed: tuple[MinHashConfig, Path] | None = None,
) -> Decision:
    """Give every document that is left its `cluster` and `split`. The cluster is the least hash of those that it hangs
    together with, which is its own where it is alone: that of the text from before stages that cut something out of it.
    Two documents of different clusters are of different groups, have different pictures, and were not found alike.

    A cluster goes where the document that it is called by would go alone; but one that is too large for that, as chains
    of resemblances may make it, goes to train: see `cluster_split`. signed: the configuration of `minhash` and the
    folder of its step "minhash-keys", whose signatures are used again where they were made of the same shingles, are
    long enough, and the text hasn't changed since.
    """
    reuse = signed is not None and shingle_settings(signed[0]) == shingle_settings(config)
    hashes = int(np.prod(signed[0].banding)) if reuse and signed else 0
    if hashes < LEAST_HASHES:
        reuse = False
    bands, rows = banding(config.threshold, hashes) if reuse else banding(config.threshold)
    tasks = sign_tasks(
        shards,
        config,
        bands,
        rows,
        hashes=hashes if reuse else None,
        signed=signed[1] if reuse and signed else None,
        grouped=True,
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
    members = task_folder(run.folder / "cluster-join", 0) / MEMBERS
    split = decide_splits(shards, where, members, validation, run)
    measures = {"read": split.documents, "kept": split.documents, "dropped": {}, "failed": {}}
    measures |= {"groups": joined["groups"], "largest_group": joined["largest"]} | split.measures
    measures["signatures_reused"] = sum(one["reused"] for one in made)
    return Decision(split.folder, measures, {"cluster": "string", "split": "string"})


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
