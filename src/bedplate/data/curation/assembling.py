"""The last part of a curation: parts under their names, one table of what was left out, the counts of it all."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from bedplate.data.corpus import DROPPED
from bedplate.data.curate import CurateConfig
from bedplate.data.curation.earlier import Earlier, earlier_parts, together
from bedplate.data.curation.writing import COUNTED, LEFT_OUT, PART
from bedplate.data.engine.tasks import task_folder
from bedplate.data.synthetic_share import SyntheticShare
from bedplate.errors import InputError, InternalError

ADDED_UP = (
    "read", "kept", "dropped", "failed", "documents", "bytes", "licenses", "languages", "domains", "sources",
    "synthetic",
)  # fmt: skip
"""Measures that an earlier corpus and what came to it have in common."""
_MOST_DOMAINS = 1000


def put_together(folder: Path, count: int, out: Path, earlier: Earlier | None) -> None:
    """Name the parts that hold anything in their order, those of an earlier corpus first, and join the tables of what
    was left out."""
    import pyarrow.parquet as pq

    for old in out.glob("part-*.parquet"):
        old.unlink()
    number = 0
    for part in (*earlier_parts(earlier), *(task_folder(folder, shard) / PART for shard in range(count))):
        if pq.read_metadata(part).num_rows:
            _link(part, out / f"part-{number:05d}.parquet")
            number += 1
    tables = [task_folder(folder, shard) / LEFT_OUT for shard in range(count)]
    if earlier is not None:
        tables.insert(0, earlier.artefact.path / f"{DROPPED}.parquet")
    schema = pq.read_schema(tables[-1])
    with pq.ParquetWriter(out / f"{DROPPED}.parquet", schema, compression="zstd") as writer:
        for path in tables:
            with pq.ParquetFile(path) as table:
                for group in range(table.num_row_groups):
                    rows = table.read_row_group(group)
                    if rows.schema != schema:
                        raise InputError(
                            f"{path}: it has other columns than this curation gives",
                            "Go on with a corpus of the same stages, or curate everything again.",
                        )
                    writer.write_table(rows)


def _link(path: Path, target: Path) -> None:
    """Have the file under another name too, without copying where the file system can."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def measured(
    config: CurateConfig,
    stages: dict[str, dict[str, Any]],
    joint: dict[str, dict[str, Any]],
    written: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    documents = {name: Counter[str]() for name in COUNTED}
    sizes = {name: Counter[str]() for name in COUNTED}
    domains: Counter[str] = Counter()
    fates: Counter[str] = Counter()
    for part in written:
        for name in COUNTED:
            documents[name].update(part["documents"][name])
            sizes[name].update(part["bytes"][name])
        domains.update(part["domains"])
        fates.update(part["fates"])
    dropped: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for counts in stages.values():
        dropped.update(counts["dropped"])
        failed.update(counts["failed"])
    read, kept = next(iter(stages.values()))["read"], documents["split"].total()
    if read != kept + dropped.total() + failed.total() or fates.total() != read:
        raise InternalError(f"documents lost: read {read}, kept {kept}, dropped {dropped}, failed {failed}, {fates}")
    licenses = _licenses(config, written)
    return {
        "read": read,
        "kept": kept,
        "dropped": dict(sorted(dropped.items())),
        "failed": dict(sorted(failed.items())),
        "stages": stages,
        **({"joint": joint} if joint else {}),
        "documents": {split: documents["split"][split] for split in ("train", "validation")},
        "bytes": {split: sizes["split"][split] for split in ("train", "validation")},
        "licenses": dict(sorted(documents["license"].items())),
        "languages": dict(sorted(documents["language"].items())),
        "domains": dict(sorted(domains.items(), key=lambda entry: (-entry[1], entry[0]))[:_MOST_DOMAINS]),
        "sources": {
            label: {
                "read": sum(fates[f"{fate} {label}"] for fate in ("kept", "dropped", "failed")),
                **{fate: fates[f"{fate} {label}"] for fate in ("kept", "dropped", "failed")},
                "bytes": sizes["label"][label],
                "license": license_,
            }
            for label, license_ in licenses.items()
        },
        "synthetic": reduce(together, (part["synthetic"] for part in written), SyntheticShare().measures()),
    }


def _licenses(config: CurateConfig, written: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The licence of each source by its label: as declared, and of those that the documents of earlier corpora first
    came from, as these say."""
    declared = {source.label: source.declared_license for source in config.sources if source.corpus is None}
    found: dict[str, Counter[str]] = {}
    for part in written:
        for name in part["fates"]:
            found.setdefault(name.partition(" ")[2], Counter())
        for label, license_, count in part["terms"]:
            found[label][license_] += count
    carried = {label: ", ".join(sorted(terms)) or "unknown" for label, terms in sorted(found.items())}
    return {label: license_ for label, license_ in carried.items() if label not in declared} | declared
