"""Documents that say the same: SemDeDup (Abbas et al. 2023, arXiv 2303.09540), in files.

An encoder's vectors, in float16; k-means over a sample of them; and within each cluster every document, in order of
preference, is held against those that are kept so far. One is dropped only for one that stays, whose id the verdict
names: a chain of resemblances doesn't empty a cluster. Likeness across clusters isn't seen: the method's price.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bedplate.data.curation.shards import Decision, Shards
from bedplate.data.deduplicate.semantic_comparison import COLUMN_KINDS
from bedplate.data.deduplicate.semantic_config import SemanticConfig
from bedplate.data.engine.tasks import Run, Task, perform
from bedplate.errors import InputError

VECTORS, CENTRES, MEMBERS, COMPARED, DECIDED = (
    f"semantic-{name}" for name in ("vectors", "centres", "members", "compared", "decided")
)
REASON = "semantic_duplicate"
_CLUSTER = 1000  # documents, about
_GROUP = 20_000  # documents that a task compares, about: whole clusters


def run_semantic(shards: Shards, config: SemanticConfig, run: Run) -> Decision:
    """Drop every document whose vector is close enough to that of one that is kept.

    The decision has the columns `semantic_cluster` (int32) and `semantic_similarity` (float32: the highest cosine with
    a document of the cluster that is kept in its stead or before it; null for the first) of every document that was
    alive. Measures: read, kept, dropped {"semantic_duplicate": n}, failed, clusters, cut (texts of which the encoder
    read the beginning only). Raises InputError where there is no encoder, and what loading it raises.
    """
    if not Path(config.encoder).is_dir():
        raise InputError(f"{config.encoder}: no such folder with an encoder", "Correct `encoder`.")
    base: dict[str, Any] = {"shards": shards, "config": config, "count": shards.count}
    made = _perform(VECTORS, "vectors:embed_shard", [base | {"shard": shard} for shard in range(shards.count)], run)
    documents = sum(measure["documents"] for measure in made)
    base |= {"vectors": run.folder / VECTORS}
    wanted = config.clusters or min(-(-documents // _CLUSTER), config.sample // 10)
    (trained,) = _perform(CENTRES, "clusters:train_centres", [base | {"clusters": max(wanted, 1)}], run)
    groups = max(1, min(trained["clusters"], -(-documents // _GROUP)))
    base |= {"centres": run.folder / CENTRES, "groups": groups}
    _perform(MEMBERS, "clusters:assign_shard", [base | {"shard": shard} for shard in range(shards.count)], run)
    base |= {"members": run.folder / MEMBERS}
    _perform(COMPARED, "comparison:compare_group", [base | {"group": group} for group in range(groups)], run)
    base |= {"compared": run.folder / COMPARED}
    each = _perform(DECIDED, "comparison:decide_shard", [base | {"shard": shard} for shard in range(shards.count)], run)
    dropped = sum(measure["dropped"] for measure in each)
    return Decision(
        run.folder / DECIDED,
        {
            "read": documents,
            "kept": documents - dropped,
            "dropped": {REASON: dropped} if dropped else {},
            "failed": {},
            "clusters": trained["clusters"],
            "cut": sum(measure["cut"] for measure in made),
        },
        {name: kind for name, kind in COLUMN_KINDS.items() if name != "row"},
    )


def _perform(step: str, function: str, arguments: Sequence[dict[str, Any]], run: Run) -> list[dict[str, Any]]:
    tasks = [Task(number, given) for number, given in enumerate(arguments)]
    return perform(step, f"bedplate.data.deduplicate.semantic_{function}", tasks, run)
