"""The joint step before all others: sources of which a mixture wants nothing go before copies are looked for.

A copy of theirs would else go as a copy of one that isn't there in the end.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from bedplate.data.corpus import ParquetTable
from bedplate.data.curation.shards import VERDICTS, Decision, Shards
from bedplate.data.engine.tasks import Run, Task, perform
from bedplate.data.mix.config import MixConfig
from bedplate.data.mix.mixing import MIXED_OUT, MixSection
from bedplate.data.mix.plan import check_labels

_VERDICT = {"row": "int32", "reason": "string", "detail": "string", "other": "string"}


def leave_out(shards: Shards, config: MixSection, run: Run) -> Decision:
    """Drop every document of a source that the mixture leaves out: `mixed_out`. Measures: documents by source.

    Raises InputError for a weight of a source that isn't there.
    """
    tasks = [Task(shard, {"shards": shards, "shard": shard, "mix": config.mix}) for shard in range(shards.count)]
    found = perform("mix-sources", f"{__name__}:write_verdicts", tasks, run)
    read: Counter[str] = Counter(dict.fromkeys(config.labels, 0))
    for one in found:
        read.update(one["read"])
    check_labels(config.mix, read)
    left_out = {label: count for label, count in sorted(read.items()) if config.mix.leaves_out(label)}
    return Decision(run.folder / "mix-sources", {"left_out": left_out})


def write_verdicts(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task of a shard. Measures: {read: {label: documents}}, of those that nothing has left out yet."""
    shards, shard = arguments["shards"], arguments["shard"]
    mix: MixConfig = arguments["mix"]
    read: Counter[str] = Counter()
    for _, batch in shards.read(shard, ["label"], alive=False):
        read.update(dict.fromkeys(batch.column("label").unique().to_pylist(), 0))
    with ParquetTable(folder, VERDICTS.removesuffix(".parquet"), _VERDICT, single=True) as verdicts:
        for numbers, batch in shards.read(shard, ["label"]):
            for number, label in zip(numbers.tolist(), batch.column("label").to_pylist(), strict=True):
                read[label] += 1
                if mix.leaves_out(label):
                    detail = f"the mixture takes nothing of {label}"
                    verdicts.add({"row": number, "reason": MIXED_OUT, "detail": detail, "other": None})
    return {"read": dict(read)}
