"""Carrying out `curate`: plan, map, joint steps, write. What is done stays done, whatever ends the process."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedplate.console.figures import counted
from bedplate.data.corpus import DROPPED
from bedplate.data.curate import CurateConfig
from bedplate.data.curation.account import check_balance, merge
from bedplate.data.curation.joint import joint_steps
from bedplate.data.curation.references import resolved
from bedplate.data.curation.schedule import scheduler_for
from bedplate.data.curation.shards import COLUMNS, VERDICTS, Shards
from bedplate.data.curation.writing import COUNTED, LEFT_OUT, PART
from bedplate.data.engine.tasks import Run, Task, perform, task_folder
from bedplate.data.reading import find, pieces, root
from bedplate.data.reading.corpus import carried_columns
from bedplate.errors import InputError, InternalError
from bedplate.ledger.atomic import atomic_write

if TYPE_CHECKING:
    from bedplate.ledger import Artefact, Work

WORK = "work"
"""Where the steps keep what they made, until the corpus stands."""
ACCOUNT = "curation.json"
"""What was counted at each stage, and how long it took. It is written when all else stands, and says that it does."""
_MOST_DOMAINS = 1000
_COUNTS = ("read", "kept", "dropped", "failed")


def run(config: CurateConfig, inputs: Mapping[str, Artefact | list[Artefact]], work: Work) -> None:
    """Write the corpus, `part-*.parquet`, and `dropped.parquet`, with every document that isn't in it and the reason.

    Memory: bounded for each worker by one batch of documents and one partition of a joint step's keys, whatever the
    size of the corpus. Raises InputError for a document that can't be read (unless on_error=skip), or where nothing is
    kept, or one split gets nothing.
    """
    work.volatile(ACCOUNT)
    config = resolved(config, inputs)
    folder, account = work.path / WORK, work.path / ACCOUNT
    if not account.is_file():
        folder.mkdir(exist_ok=True)
        try:
            with contextlib.closing(scheduler_for(config)) as scheduler:
                measures = _curate(config, Run(folder, scheduler, work.console), work.path)
            _check_splits(config, measures)
        except InputError:  # the input has to change, and then what was made of it is of no use
            for made in work.path.glob("*.parquet"):
                made.unlink()
            shutil.rmtree(folder)
            raise
        atomic_write(account, json.dumps(measures, indent=1))
    work.measures.update(json.loads(account.read_text()))
    shutil.rmtree(folder, ignore_errors=True)


def _curate(config: CurateConfig, run: Run, out: Path) -> dict[str, Any]:
    planned = [(source, piece) for source in config.sources for piece in pieces(source, find(source))]
    if not planned:
        raise InputError("curate: neither `sources` nor an input `corpus` is given", "Give one of them.")
    carried = _carried(config)
    tasks = [
        Task(number, {"config": config, "source": source, "piece": piece, "carried": carried}, keeps_journal=True)
        for number, (source, piece) in enumerate(planned)
    ]
    mapped = perform("map", "bedplate.data.curation.mapping:map_piece", tasks, run)
    run.scheduler.close()  # the models of the steps, and what libraries held, go with the workers
    shards = Shards(run.folder / "map", len(planned))
    stages = merge([measure["stages"] for measure in mapped])
    joint: dict[str, dict[str, Any]] = {}
    names = []
    for step in joint_steps(config):
        before = len(run.spent)
        decision = step.run(shards, step.config, run)
        stages[step.name] = _joint_counts(stages, decision.folder, shards) | {"cpu_s": sum(run.spent[before:])}
        joint[step.name] = {name: value for name, value in decision.measures.items() if name not in _COUNTS}
        shards = shards.after(decision.folder)
        names.append(step.name)
    check_balance(stages)
    columns = _columns(shards)
    arguments = {"shards": shards, "names": names, "columns": columns, "validation": config.validation}
    writes = [Task(number, {**arguments, "shard": number}) for number in range(shards.count)]
    written = perform("write", "bedplate.data.curation.writing:write_shard", writes, run)
    _put_together(run.folder / "write", shards.count, out)
    return _measures(config, stages, joint, written)


def _carried(config: CurateConfig) -> dict[str, str]:
    """The columns that documents of earlier corpora bring along."""
    columns: dict[str, str] = {}
    for source in config.sources:
        if source.corpus is not None:
            for name, kind in carried_columns(find(source)[0]).items():
                if columns.setdefault(name, kind) != kind:
                    raise InputError(
                        f"{source.corpus}: the column {name} holds {kind}, and {columns[name]} in another corpus",
                        "Make both with the same version.",
                    )
    return columns


def _joint_counts(stages: dict[str, dict[str, Any]], folder: Path, shards: Shards) -> dict[str, Any]:
    """What a joint step did with the documents that the stage before it kept."""
    import pyarrow.parquet as pq

    reasons: Counter[str] = Counter()
    for shard in range(shards.count):
        if (path := task_folder(folder, shard) / VERDICTS).is_file():
            counted_here = pq.read_table(path, columns=["reason"]).column("reason").value_counts().to_pylist()
            reasons.update({entry["values"]: entry["counts"] for entry in counted_here})
    read = next(reversed(stages.values()))["kept"]
    return {"read": read, "kept": read - reasons.total(), "dropped": dict(sorted(reasons.items())), "failed": {}}


def _columns(shards: Shards) -> dict[str, str]:
    """The columns of all shards, with their types, and those that joint steps added."""
    import pyarrow.parquet as pq

    paths = [shards.path(0)]
    for folder in shards.decided:
        places = (task_folder(folder, number) / COLUMNS for number in range(shards.count))
        paths += [path for path in places if path.is_file()][:1]
    return {field.name: str(field.type) for path in paths for field in pq.read_schema(path) if field.name != "row"}


def _put_together(folder: Path, count: int, out: Path) -> None:
    """Name the parts that hold anything in their order, and join the tables of what was left out."""
    import pyarrow.parquet as pq

    for old in out.glob("part-*.parquet"):
        old.unlink()
    number = 0
    for shard in range(count):
        part = task_folder(folder, shard) / PART
        if pq.read_metadata(part).num_rows:
            _link(part, out / f"part-{number:05d}.parquet")
            number += 1
    first = task_folder(folder, 0) / LEFT_OUT
    with pq.ParquetWriter(out / f"{DROPPED}.parquet", pq.read_schema(first), compression="zstd") as writer:
        for shard in range(count):
            with pq.ParquetFile(task_folder(folder, shard) / LEFT_OUT) as table:
                for group in range(table.num_row_groups):
                    writer.write_table(table.read_row_group(group))


def _link(path: Path, target: Path) -> None:
    """Have the file under another name too, without copying where the file system can."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def _measures(
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
    declared = {source.label: source.declared_license for source in config.sources}
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
            for label, license_ in declared.items()
        },
    }


def _check_splits(config: CurateConfig, measures: Mapping[str, Any]) -> None:
    names = ", ".join(str(root(source)) for source in config.sources)
    if not measures["kept"]:
        reasons = measures["dropped"] | measures["failed"]
        why = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
        raise InputError(
            f"{names}: no text in it: {counted(measures['read'], 'document')} read, none kept"
            + (f" ({why})" if why else ""),
            "Check that the sources hold text, and the limits and filters.",
        )
    for split in ("train", "validation"):
        if not measures["documents"][split]:
            raise InputError(
                f"{names}: {counted(measures['kept'], 'document')} kept, of which the {split} split gets none "
                f"(validation={config.validation})",
                "Give more or smaller documents, or another share in `validation`.",
            )
