"""The index of a corpus: the keys of its documents, against which a later one is deduplicated.

`index.json` says what was indexed and how. Each section ("exact", "minhash") has a folder with numbered parts, laid out
as the tasks that made them left them, without what was dropped since.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.data.curation.shards import Shards
from bedplate.data.deduplicate.facts import ID, SHA256, ArrayWriter
from bedplate.data.deduplicate.runs import Part, beside, runs
from bedplate.data.engine.tasks import task_folder
from bedplate.errors import ArtefactError, UserError

FORMAT = 2
INDEX = "index.json"
SIGNATURES = "signatures.npy"

_BLOCK = 1 << 14


def write_index(
    out: Path, shards: Shards, sections: dict[str, tuple[Path, dict[str, Any]]], earlier: Path | None = None
) -> None:
    """Write an index of the documents that are left.

    shards: with every decision made. sections: {"exact": (folder of the step "exact-keys", its configuration as
    `semantic()`), "minhash": (folder of "minhash-keys", its `key_settings`)}; a later corpus must have the same.
    earlier: an index that this one goes on, whose parts come first. `out` must not exist yet.
    """
    out.mkdir(parents=True)
    said: dict[str, Any] = {"format": FORMAT, "sections": {}}
    for name, (keys, settings) in sorted(sections.items()):
        sizes: list[int] = []
        for part in read(earlier, name, settings) if earlier else ():
            shutil.copytree(part.folder, task_folder(out / name, len(sizes)))
            sizes.append(part.rows)
        for shard in range(shards.count):
            target = task_folder(out / name, len(sizes))
            target.mkdir(parents=True)
            sizes.append(_part(task_folder(keys, shard), target, shards.alive(shard)))
        said["sections"][name] = {"settings": settings, "rows": sizes}
    _finish(out, said)


def write_without(out: Path, earlier: Path, stays: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
    """Write an index of what is left of a corpus. earlier: its index; stays: [documents], in the corpus's order. `out`
    must not exist yet. Raises ArtefactError where the index isn't one of so many documents."""
    said = _said(earlier)
    out.mkdir(parents=True)
    for name, made in sorted(said["sections"].items()):
        sizes: list[int] = []
        parts = read(earlier, name, made["settings"])
        if (count := sum(part.rows for part in parts)) != len(stays):
            raise ArtefactError(
                f"{earlier}: the keys of {count} documents ({name}), where the corpus has {len(stays)}",
                "Curate the corpus again.",
            )
        for part in parts:
            target = task_folder(out / name, len(sizes))
            target.mkdir(parents=True)
            sizes.append(_part(part.folder, target, stays[part.start : part.end]))
        made["rows"] = sizes
    _finish(out, said)


def _finish(out: Path, said: dict[str, Any]) -> None:
    (out / INDEX).write_text(json.dumps(said, indent=2, sort_keys=True) + "\n")


def read(folder: Path, section: str, settings: dict[str, Any]) -> tuple[Part, ...]:
    """The parts of an index. Raises ArtefactError where it is none, UserError where it was made otherwise."""
    said = _said(folder)
    made = said["sections"].get(section)
    if made is None:
        raise UserError(
            f"{folder}: the earlier corpus wasn't deduplicated by `{section}`, so it has no keys to compare with",
            f"Leave out deduplicate.{section}, or curate the earlier corpus with it.",
        )
    if made["settings"] != settings:
        other = sorted(name for name in settings if made["settings"].get(name) != settings[name])
        was = ", ".join(f"{name}: {made['settings'].get(name)}" for name in other)
        raise UserError(
            f"{folder}: the earlier corpus was deduplicated with other settings than deduplicate.{section} ({was})",
            "Set the same, or curate the earlier corpus again.",
        )
    parts, start = [], 0
    for number, count in enumerate(made["rows"]):
        parts.append(Part(task_folder(folder / section, number), start, count))
        start += count
    return tuple(parts)


def _said(folder: Path) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads((folder / INDEX).read_text())
    except (OSError, ValueError) as error:
        raise ArtefactError(
            f"{folder} is no index of a corpus ({error})", "Name the index of a curated corpus."
        ) from error
    if said.get("format") != FORMAT:
        raise ArtefactError(f"{folder}: an index of format {said.get('format')}; this version reads {FORMAT}")
    return said


def _part(source: Path, target: Path, alive: np.ndarray[Any, np.dtype[np.bool_]]) -> int:
    """Copy what is left of a part; gives how many documents that is."""
    numbers = np.cumsum(alive) - 1
    count = int(alive.sum())
    for run in runs(source):
        rows = np.load(beside(run, "row"))
        stays = alive[rows]
        if not stays.any():
            continue
        np.save(target / run.name, np.load(run)[stays])
        np.save(beside(target / run.name, "row"), numbers[rows[stays]].astype(np.uint32))
        if beside(run, "low").is_file():
            np.save(beside(target / run.name, "low"), np.load(beside(run, "low"))[stays])
    for name in (ID, SHA256, SIGNATURES):
        if not count or not (source / name).is_file():
            continue
        # Read in blocks: what is mapped counts as the process's memory.
        with (source / name).open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            writer = ArrayWriter(target / name, (count, *shape[1:]), dtype)
            for first in range(0, len(alive), _BLOCK):
                here = alive[first : first + _BLOCK]
                block = np.fromfile(file, dtype, len(here) * math.prod(shape[1:])).reshape(-1, *shape[1:])
                writer.put(numbers[first : first + _BLOCK][here], block[here])
            writer.close()
    return count
