"""Runs of words that occurred before, whatever the size of the corpus: found exactly, then cut out, or only measured.

1. Winnowing (Schleimer, Wilkerson and Aiken 2003, doi 10.1145/872757.872770): of every run of n words at least one
   stretch of n // 2 words is a fingerprint, chosen by its hash alone, so that two equal runs share one. About one in
   thirteen words begins a fingerprint, where n is 50.
2. Fingerprints that occur twice, anywhere. Most of a corpus has none, and isn't looked at again.
3. Every run of n words around such a fingerprint, with a 128-bit hash: two of 64 bits, each from random numbers of its
   own for the bytes and places of a word. Equal hashes are equal words, but for a chance of N^2 / 2^129 among N runs:
   10^-15 for a million million. That is the verification; the texts aren't compared once more.
4. A run is repeated if it occurred before in the corpus's order: in an earlier document that stays, or earlier in the
   same one without overlapping it. What is repeated in a document is the union of such runs. Whether a document stays
   may depend on that, so one task decides it for all in their order.

Between the steps are files in partitions by hash; no task holds more than a piece of its partition and what is
different in it, and none the words of a long document all at once.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from bedplate.data.curation.shards import Decision, Shards
from bedplate.data.deduplicate.substring_config import SubstringConfig
from bedplate.data.deduplicate.substring_files import partitions
from bedplate.data.engine.tasks import Run, Task, perform

if TYPE_CHECKING:
    from pathlib import Path

FINGERPRINTS, REPEATED, WINDOWS, NUMBERED, MARKED, CUT = (
    f"substring-{name}" for name in ("fingerprints", "repeated", "windows", "numbered", "marked", "cut")
)
_WORD_BYTES = 6  # of a word and the space after it, about: only the number of partitions depends on it


def run_substring(shards: Shards, config: SubstringConfig, run: Run) -> Decision:
    """Decide of each document what in it occurred before, and do with it what the configuration says.

    The decision has the column `repeated_fraction` (of the words, float32) of every document that was alive. Measures:
    read, kept, dropped {"repeated": documents}, failed, and documents with repeats, their words, those repeated, and
    bytes removed.
    """
    base = {"shards": shards, "config": config}
    stretches = 2 / (config.words - config.words // 2 + 2)
    pieces = partitions(2 * int(_text_bytes(shards) / _WORD_BYTES * stretches))
    perform(FINGERPRINTS, _at("winnowing:write_fingerprints"), _by_shard(shards, base | {"pieces": pieces}), run)
    source: dict[str, Any] = {"folder": run.folder / FINGERPRINTS, "count": shards.count}
    tasks = [Task(piece, source | {"piece": piece}) for piece in range(pieces)]
    regions = sum(made["regions"] for made in perform(REPEATED, _at("winnowing:find_repeated"), tasks, run))

    # Where all of a text is repeated its fingerprints are half a window's stretches apart.
    runs = 3 * regions * (config.words - config.words // 2 + 1) // 2
    given = base | {"folder": run.folder / REPEATED, "given": pieces}
    pieces = partitions(runs)
    perform(WINDOWS, _at("windows:write_windows"), _by_shard(shards, given | {"pieces": pieces}), run)
    source = {"folder": run.folder / WINDOWS, "count": shards.count, "config": config}
    tasks = [Task(piece, source | {"piece": piece}) for piece in range(pieces)]
    if config.action == "measure":
        perform(MARKED, _at("windows:find_marked"), tasks, run)
    else:
        numbered = [made["runs"] for made in perform(NUMBERED, _at("owners:number_windows"), tasks, run)]
        source |= {"folder": run.folder / NUMBERED, "runs": numbered, "windows": run.folder / WINDOWS}
        perform(MARKED, _at("owners:find_marked"), [Task(0, source)], run)
        pieces = 1

    given = base | {"folder": run.folder / MARKED, "given": pieces}
    measures = _summed(perform(CUT, _at("cut:cut_shard"), _by_shard(shards, given), run))
    return Decision(run.folder / CUT, measures, {"repeated_fraction": "float32"})


def _at(function: str) -> str:
    return f"bedplate.data.deduplicate.substring_{function}"


def _by_shard(shards: Shards, arguments: dict[str, Any]) -> list[Task]:
    return [Task(shard, arguments | {"shard": shard}) for shard in range(shards.count)]


def _text_bytes(shards: Shards) -> int:
    """About how much text there is."""
    return sum(_column_bytes(shards.path(shard)) for shard in range(shards.count))


def _column_bytes(path: Path) -> int:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        column = file.schema_arrow.names.index("text")
        groups = (file.metadata.row_group(group) for group in range(file.num_row_groups))
        return sum(group.column(column).total_uncompressed_size for group in groups)


def _summed(measures: list[dict[str, Any]]) -> dict[str, Any]:
    sums: Counter[str] = Counter()
    for measure in measures:
        sums.update({name: measure[name] for name in ("read", "kept", "dropped", *COUNTS)})
    dropped = {"repeated": sums["dropped"]} if sums["dropped"] else {}
    rest = {name: sums[name] for name in COUNTS}
    return {"read": sums["read"], "kept": sums["kept"], "dropped": dropped, "failed": {}} | rest


COUNTS = ("documents_with_repeats", "words_in_them", "repeated_words", "removed_bytes")
