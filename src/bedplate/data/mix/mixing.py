"""The joint step that mixes: how often each training document is seen, and in which part of an epoch."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.config.nearest import expected_one_of
from bedplate.data.curation.shards import COLUMNS, VERDICTS, Decision, Shards
from bedplate.data.curation.splitting import split_of_row
from bedplate.data.engine.tasks import Run, Task, perform, task_folder
from bedplate.data.mix.config import CurriculumConfig, MixConfig
from bedplate.data.mix.plan import plan_mixture
from bedplate.errors import InputError

MIXED_OUT = "mixed_out"


@dataclass(frozen=True)
class MixSection:
    """The mixture, the share of validation, whose documents it leaves alone, and the sources' labels as far as they are
    known without their documents: those of a corpus have their own."""

    mix: MixConfig
    validation: float
    labels: tuple[str, ...] = ()


def mix(shards: Shards, config: MixSection, run: Run) -> Decision:
    """Say of each document how many copies of it an epoch has (column `copies`), and with a curriculum its `phase`.

    Of documents of validation it says nothing: null. Memory: 4 bytes a document with a curriculum. Raises InputError
    for a source or column that isn't there.
    """
    base = {"shards": shards, "config": config}
    tasks = [Task(number, {**base, "shard": number}) for number in range(shards.count)]
    sizes = Counter(dict.fromkeys(config.labels, 0))
    for found in perform("mix-sizes", "bedplate.data.mix.mixing:measure", tasks, run):
        sizes.update(found["bytes"])
    portions = plan_mixture(sizes, config.mix)
    told = {
        **base,
        "epochs": {label: portion.epochs for label, portion in portions.items()},
        "bounds": _bounds(run.folder / "mix-sizes", shards.count, config.mix.curriculum),
    }
    tasks = [Task(number, {**told, "shard": number}) for number in range(shards.count)]
    perform("mix", "bedplate.data.mix.mixing:decide", tasks, run)
    measures = {label: portion.measures() for label, portion in portions.items()}
    return Decision(run.folder / "mix", measures, {"copies": "int32", "phase": "int32"})


def measure(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Bytes of training text by source, those that have none left included; with a curriculum `values.npy`, its
    column."""
    config: MixSection = arguments["config"]
    column = None if config.mix.curriculum is None else config.mix.curriculum.by
    sizes: Counter[str] = Counter()
    for _, batch in arguments["shards"].read(arguments["shard"], ["label"], alive=False):
        sizes.update(dict.fromkeys(batch.column("label").unique().to_pylist(), 0))
    values: list[float] = []
    for _, row in _training_rows(arguments, column):
        sizes[row["label"]] += row["bytes"]
        if column is not None:
            values.append(_number(row[column]))
    if column is not None:
        np.save(folder / "values.npy", np.array(values, dtype=np.float32))
    return {"bytes": dict(sizes)}


def decide(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """`columns.parquet` with copies and phase, and `verdicts.parquet` of what an epoch has no copy of."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    config: MixSection = arguments["config"]
    curriculum, bounds = config.mix.curriculum, arguments["bounds"]
    said: dict[str, list[Any]] = {"row": [], "copies": [], "phase": []}
    out: list[dict[str, Any]] = []
    for number, row in _training_rows(arguments, None if curriculum is None else curriculum.by):
        epochs = arguments["epochs"][row["label"]]
        copies = int(epochs) + (draw(row["sha256"]) < epochs - int(epochs))  # the hash from before any cuts, as above
        if not copies:
            detail = f"{row['label']} is seen {epochs:.3g} times an epoch"
            out.append({"row": number, "reason": MIXED_OUT, "detail": detail, "other": None})
            continue
        said["row"].append(number)
        said["copies"].append(copies)
        said["phase"].append(0 if curriculum is None else _phase(_number(row[curriculum.by]), bounds, curriculum))
    kinds = pa.schema([("row", pa.int32()), ("copies", pa.int32()), ("phase", pa.int32())])
    pq.write_table(pa.table(said, kinds), folder / COLUMNS)
    kinds = pa.schema([("row", pa.int32()), *((name, pa.string()) for name in ("reason", "detail", "other"))])
    pq.write_table(pa.Table.from_pylist(out, kinds), folder / VERDICTS)
    return {}


def draw(sha256: str) -> float:
    """A number in [0, 1) out of a document's hash: the same one whatever else is in the corpus."""
    return int.from_bytes(hashlib.sha256(f"mix {sha256}".encode()).digest()[:8], "big") / 2**64


def _training_rows(arguments: Mapping[str, Any], column: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
    shards, shard, config = arguments["shards"], arguments["shard"], arguments["config"]
    splits = shards.said(shard, "split")
    columns = ["label", "bytes", "sha256", "group", "split"]
    if column is not None:
        _check_column(shards, shard, column)
        columns.append(column)
    for numbers, batch in shards.read(shard, columns):
        said = splits.between(int(numbers[0]), int(numbers[-1]) + 1)
        for number, row in zip(numbers.tolist(), batch.to_pylist(), strict=True):
            if number in said:
                row["split"] = said[number]
            if split_of_row(row, config.validation) == "train":
                yield number, row


def _check_column(shards: Shards, shard: int, column: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(shards.path(shard))
    fit = [
        field.name
        for field in schema
        if pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or field.name == "date"
    ]
    if column not in fit:
        raise InputError(
            f"mix.curriculum.by: {column!r} is no column of numbers; {expected_one_of(column, fit)}",
            "Name a column that `signals` or `classify` makes.",
        )


def _number(value: object) -> float:
    """A value as a place in the order; a date by its year and month. What has none comes in the middle."""
    if isinstance(value, str):
        digits = "".join(c for c in value[:7] if c.isdigit())
        return float(digits[:6].ljust(6, "0")) if len(digits) >= 4 else float("nan")
    return float(value) if isinstance(value, int | float) else float("nan")


def _bounds(folder: Path, count: int, curriculum: CurriculumConfig | None) -> list[float]:
    """The values at which one phase ends and the next begins."""
    if curriculum is None:
        return []
    values = np.concatenate([np.load(task_folder(folder, n) / "values.npy") for n in range(count)])
    values = values[np.isfinite(values)]
    if not len(values):
        raise InputError(f"mix.curriculum.by: no document has a {curriculum.by!r}", "Name another column.")
    shares = np.arange(1, curriculum.phases) / curriculum.phases
    bounds: list[float] = np.quantile(values, shares).tolist()
    return bounds


def _phase(value: float, bounds: list[float], curriculum: CurriculumConfig) -> int:
    if value != value:
        return curriculum.phases // 2
    phase = int(np.searchsorted(bounds, value, side="right"))
    return curriculum.phases - 1 - phase if curriculum.descending else phase
