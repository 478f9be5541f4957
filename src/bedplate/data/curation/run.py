"""Carrying out `curate`: plan, map, joint steps, write. What is done stays done, whatever ends the process."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedplate.console.figures import counted
from bedplate.data.curate import CurateConfig
from bedplate.data.curation.account import check_balance, merge
from bedplate.data.curation.assembling import ADDED_UP, measured, put_together
from bedplate.data.curation.checks import check_settings
from bedplate.data.curation.earlier import (
    INDEX,
    SOURCES,
    Earlier,
    Planned,
    changed_files,
    together,
    write_keys,
    write_states,
)
from bedplate.data.curation.evaluations import INDEX_FILE, found_of_evaluations, with_index
from bedplate.data.curation.joint import joint_steps
from bedplate.data.curation.mapping import forget_steps
from bedplate.data.curation.record_id import RECORD_ID
from bedplate.data.curation.references import resolved
from bedplate.data.curation.schedule import scheduler_for
from bedplate.data.curation.shards import VERDICTS, Shards
from bedplate.data.engine.tasks import Run, Task, perform, task_folder
from bedplate.data.provenance.taken_down import TAKEN_DOWN, carry, lists_of
from bedplate.data.reading import changed_since, find, pieces, root
from bedplate.data.reading.corpus import carried_columns
from bedplate.errors import InputError, StorageError, UserError
from bedplate.ledger import Artefact
from bedplate.ledger.atomic import atomic_write

if TYPE_CHECKING:
    from bedplate.ledger import Work

WORK = "work"
"""Where the steps keep what they made, until the corpus stands."""
ACCOUNT = "curation.json"
"""What was counted at each stage, and how long it took. It is written when all else stands, and says that it does."""
_COUNTS = ("read", "kept", "dropped", "failed")
_TEXTLESS = {"empty", "no_text", "not_text", "too_large"}


def run(config: CurateConfig, inputs: Mapping[str, Artefact | list[Artefact]], work: Work) -> None:
    """Write the corpus, `part-*.parquet`, and `dropped.parquet`, with every document that isn't in it and the reason.

    Memory: bounded for each worker by one batch of documents and one partition of a joint step's keys, whatever the
    size of the corpus. Raises InputError for a document that can't be read (unless on_error=skip), or where nothing is
    kept, or one split gets nothing.
    """
    work.volatile(ACCOUNT, SOURCES)
    config = resolved(config, inputs)
    given = inputs.get("earlier")
    earlier = Earlier.open(given, config) if isinstance(given, Artefact) else None
    taken_down = lists_of(inputs)
    folder, account = work.path / WORK, work.path / ACCOUNT
    if not account.is_file():
        folder.mkdir(exist_ok=True)
        try:
            with contextlib.closing(scheduler_for(config)) as scheduler:
                measures = _curate(config, earlier, taken_down, Run(folder, scheduler, work.console), work.path)
            _check_splits(config, measures)
        except StorageError:
            raise
        except UserError:  # what was made so far is of no use once that is mended
            for name in (SOURCES, INDEX_FILE, TAKEN_DOWN, *(path.name for path in work.path.glob("*.parquet"))):
                (work.path / name).unlink(missing_ok=True)
            for made in (folder, work.path / INDEX):
                shutil.rmtree(made, ignore_errors=True)
            raise
        atomic_write(account, json.dumps(measures, indent=1))
    work.measures.update(json.loads(account.read_text()))
    shutil.rmtree(folder, ignore_errors=True)


def _curate(
    config: CurateConfig, earlier: Earlier | None, taken_down: tuple[str, ...], run: Run, out: Path
) -> dict[str, Any]:
    if not config.sources:
        raise InputError("curate: neither `sources` nor an input `corpus` is given", "Give one of them.")
    files = [(source, find(source) if earlier is None else earlier.fresh(source)) for source in config.sources]
    planned = [(source, piece) for source, found in files for piece in pieces(source, found)]
    if not planned:
        raise InputError(
            "curate: the earlier corpus has read all of these sources already, and none has changed since",
            "Use it as it is, or name a source with something new in it.",
        )
    carried = _carried(config)
    config = with_index(config, run.folder)
    check_settings(config, carried, taken_down, earlier, run)
    alike = {"config": config, "carried": carried, "taken_down": taken_down, "run": str(run.folder)}
    tasks = [
        Task(number, alike | {"source": source, "piece": piece}, keeps_journal=True)
        for number, (source, piece) in enumerate(planned)
    ]
    mapped = perform("map", "bedplate.data.curation.mapping:map_piece", tasks, run)
    _check_unchanged(files)
    run.scheduler.close()  # the models of the steps, and what libraries held, go with the workers
    forget_steps()
    shards = Shards(run.folder / "map", len(planned))
    stages = merge([measure["stages"] for measure in mapped])
    joint: dict[str, dict[str, Any]] = {}
    names = []
    added: dict[str, str] = {}
    for step in joint_steps(config, None if earlier is None else earlier.index):
        before = len(run.spent)
        decision = step.run(shards, step.config, run)
        stages[step.name] = _joint_counts(stages, decision.folder, shards) | {"cpu_s": sum(run.spent[before:])}
        joint[step.name] = {name: value for name, value in decision.measures.items() if name not in _COUNTS}
        shards = shards.after(decision.folder)
        names.append(step.name)
        added |= decision.columns
    check_balance(stages)
    columns = _columns(shards) | added
    arguments = {"shards": shards, "names": names, "columns": columns, "validation": config.validation}
    writes = [Task(number, {**arguments, "shard": number}) for number in range(shards.count)]
    written = perform("write", "bedplate.data.curation.writing:write_shard", writes, run)
    put_together(run.folder / "write", shards.count, out, earlier)
    write_states(files, earlier, out)
    carry(taken_down, out)
    write_keys(config, earlier, shards, run, out)
    measures = measured(config, stages, joint, written) | found_of_evaluations(config, shards, earlier, out)
    if earlier is not None:
        measures = together({name: earlier.artefact.measures[name] for name in ADDED_UP}, measures)
        measures["earlier"] = {name: earlier.artefact.measures[name] for name in ("read", "kept")}
        measures["earlier"]["changed_files"] = changed_files(files, earlier)
    return measures


def _check_unchanged(planned: Planned) -> None:
    """Raise InputError for a file that is another than when it was planned: nobody could say what was read of it. One
    that is gone has been counted as failed."""
    for file in changed_since([file for _, files in planned for file in files]):
        if file.url is not None or file.path.exists():
            raise InputError(
                f"{file.place}: it has changed while it was read", "Run the same command once nothing writes there."
            )


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
    """The columns of all shards, with their types."""
    import pyarrow.parquet as pq

    schema = pq.read_schema(shards.path(0))
    return {field.name: str(field.type) for field in schema if field.name != RECORD_ID}


def _check_splits(config: CurateConfig, measures: Mapping[str, Any]) -> None:
    names = ", ".join(str(root(source)) for source in config.sources)
    if not measures["kept"]:
        reasons = measures["dropped"] | measures["failed"]
        why = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
        what = "no text in it" if set(reasons) <= _TEXTLESS else "nothing of it is left"
        raise InputError(
            f"{names}: {what}: {counted(measures['read'], 'document')} read, none kept" + (f" ({why})" if why else ""),
            "Check that the sources hold text, and the limits and filters.",
        )
    clusters = measures.get("joint", {}).get("clusters", {})
    share, cluster = clusters.get("largest_share", 0), ""
    if share >= config.validation / 2:
        cluster = f": the cluster {clusters['largest'][:24]}, alike or of one group, has {share:.0%} of the text"
    for split in ("train", "validation"):
        if not measures["documents"][split]:
            raise InputError(
                f"{names}: {counted(measures['kept'], 'document')} kept, of which the {split} split gets none "
                f"(validation={config.validation}){cluster}",
                "Look for closer resemblance with a higher clusters.threshold, or for none with `clusters: null`."
                if cluster
                else "Give more or smaller documents, or another share in `validation`.",
            )
