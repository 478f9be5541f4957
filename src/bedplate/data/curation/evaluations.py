"""The evaluations that a corpus was cleaned of: their index, made once and kept with the corpus, and what it found."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from bedplate.data.corpus import DROPPED
from bedplate.data.curate import CurateConfig
from bedplate.data.curation.earlier import Earlier, earlier_parts
from bedplate.data.curation.shards import Shards
from bedplate.errors import InputError

INDEX_FILE = "evaluation-index.npz"
"""In the corpus: `EvaluationIndex.load` reads it, and tells later which items of a task the corpus touched."""


def with_index(config: CurateConfig, folder: Path) -> CurateConfig:
    """The configuration with the index of its evaluations made, at `folder`, so that each worker only reads it.

    Raises UserError for a task or file that isn't there or holds nothing to look for.
    """
    if config.decontaminate is None:
        return config
    from bedplate.data.decontaminate.step import prepared

    path = folder / INDEX_FILE
    if not path.is_file():
        part = path.with_name(f"part-{INDEX_FILE}")
        prepared(config.decontaminate, part)
        part.rename(path)
    alone = {"tasks": (), "files": (), "index": str(path)}
    section = type(config.decontaminate).model_validate(config.decontaminate.model_dump() | alone)
    return config.model_copy(update={"decontaminate": section})


def check_same_evaluations(config: CurateConfig, earlier: Earlier) -> None:
    """Raise InputError unless an earlier corpus was cleaned of the very same items: its documents say by their numbers
    which ones they hold."""
    from bedplate.data.decontaminate.index import EvaluationIndex
    from bedplate.data.decontaminate.step import measures

    section = config.decontaminate
    index = None if section is None or section.index is None else measures(EvaluationIndex.load(Path(section.index)))
    there = earlier.artefact.measures.get("decontaminate", {}).get("index")
    if there != index:
        raise InputError(
            f"{earlier.artefact.path}: it was cleaned of other evaluations than this curation is to be",
            "Name the same tasks and files, as they were then, or curate everything again.",
        )


def found_of_evaluations(config: CurateConfig, shards: Shards, earlier: Earlier | None, out: Path) -> dict[str, Any]:
    """What was found of each task, for the measures; the index is copied into the corpus, at `out`."""
    if config.decontaminate is None or config.decontaminate.index is None:
        return {}
    from bedplate.data.decontaminate.index import EvaluationIndex
    from bedplate.data.decontaminate.step import ITEMS, by_task, measures

    path = Path(config.decontaminate.index)
    index = EvaluationIndex.load(path)
    shutil.copyfile(path, out / INDEX_FILE)
    values = chain(_values_of_earlier(earlier, ITEMS), _values(shards, ITEMS))
    return {"decontaminate": {"index": measures(index), "tasks": by_task(index, values)}}


def _values_of_earlier(earlier: Earlier | None, column: str) -> Iterator[str | None]:
    import pyarrow.parquet as pq

    if earlier is None:
        return
    for path in (*earlier_parts(earlier), earlier.artefact.path / f"{DROPPED}.parquet"):
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=16_384, columns=[column]):
                yield from batch.column(0).to_pylist()


def _values(shards: Shards, column: str) -> Iterator[str | None]:
    for shard in range(shards.count):
        for _, batch in shards.read(shard, [column], alive=False):
            yield from batch.column(0).to_pylist()
