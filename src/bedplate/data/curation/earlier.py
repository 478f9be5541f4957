"""Going on with a corpus: only files that it hasn't read are read, and its own documents stay as they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedplate.data.curate import CurateConfig
from bedplate.data.curation.shards import Shards
from bedplate.data.deduplicate import ids, index
from bedplate.data.deduplicate.minhash import key_settings
from bedplate.data.engine.tasks import Run
from bedplate.data.reading import SourceFile, find
from bedplate.data.source import Source
from bedplate.errors import ArtefactError, InputError
from bedplate.ledger import Artefact
from bedplate.ledger.atomic import atomic_write

SOURCES = "sources.json"
"""Which files a corpus was read from, and their states: {label: {name: state}}."""
INDEX = "index"
_WHOLE = ("substring", "embeddings", "images")


@dataclass(frozen=True)
class Earlier:
    """The corpus that a curation goes on with."""

    artefact: Artefact
    states: dict[str, dict[str, list[object]]]

    @classmethod
    def open(cls, artefact: Artefact, config: CurateConfig) -> Earlier:
        """Raises InputError for stages that have to see all documents at once, ArtefactError for a corpus that
        doesn't say what it was read from."""
        blind = [f"deduplicate.{name}" for name in _WHOLE if getattr(config.deduplicate, name) is not None]
        blind += [name for name in ("mix", "clusters") if getattr(config, name) is not None]
        if blind:
            raise InputError(
                f"curate: {blind[0]} has to see all documents, and with an `earlier` corpus only new ones are read",
                f"Leave out {blind[0]} here; it can follow as a stage of its own, with the result as its input corpus.",
            )
        try:
            states = json.loads((artefact.path / SOURCES).read_text())
        except (OSError, ValueError) as error:
            raise ArtefactError(
                f"{artefact.path / SOURCES}: can't be read: {error}", "Curate the earlier corpus again."
            ) from error
        return cls(artefact, states)

    @property
    def index(self) -> Path:
        """The keys of its documents."""
        return self.artefact.path / INDEX

    def fresh(self, source: Source) -> list[SourceFile]:
        """The source's files that it didn't read, or that have changed since."""
        known = self.states.get(source.label, {})
        return [file for file in find(source) if known.get(file.name) != file.state]


Planned = Sequence[tuple[Source, Sequence[SourceFile]]]
"""The sources, and the files of each that are read."""


def write_states(planned: Planned, earlier: Earlier | None, out: Path) -> None:
    """Write down which files the corpus was read from, as they were when it was planned; those of the earlier one
    included."""
    states: dict[str, dict[str, list[object]]] = dict(earlier.states) if earlier else {}
    for source, files in planned:
        states[source.label] = states.get(source.label, {}) | {file.name: file.state for file in files}
    atomic_write(out / SOURCES, json.dumps(states, indent=0))


def write_keys(config: CurateConfig, earlier: Earlier | None, shards: Shards, run: Run, out: Path) -> None:
    """Write the keys of the corpus's documents, so that a later curation can go on with it."""
    sections: dict[str, tuple[Path, dict[str, Any]]] = {}
    if (exact := config.deduplicate.exact) is not None:
        sections["exact"] = (run.folder / "exact-keys", exact.semantic())
    if (minhash := config.deduplicate.minhash) is not None:
        sections["minhash"] = (run.folder / "minhash-keys", key_settings(minhash))
    if any(source.id_field is not None for source in config.sources):
        sections["ids"] = (run.folder / "ids-keys", ids.SETTINGS)
    if sections:
        target = out / INDEX
        shutil.rmtree(target, ignore_errors=True)
        index.write_index(target, shards, sections, earlier.index if earlier else None)


def changed_files(planned: Planned, earlier: Earlier) -> int:
    """Files that the earlier corpus read in another state: they are read again whole, and what it has of them stays."""
    return sum(file.name in earlier.states.get(source.label, {}) for source, files in planned for file in files)


def together(before: Any, now: Any) -> Any:
    """The measures of the earlier corpus and of what came to it, added up: numbers, and mappings of numbers."""
    if isinstance(before, dict) and isinstance(now, dict):
        return {key: together(before[key], now[key]) if key in before and key in now else before.get(key, now.get(key))
                for key in [*before, *(key for key in now if key not in before)]}  # fmt: skip
    if isinstance(before, int | float) and not isinstance(before, bool):
        return before + now
    return now


def earlier_parts(earlier: Earlier | None) -> Sequence[Path]:
    """The parts of the earlier corpus, in order."""
    return () if earlier is None else sorted(earlier.artefact.path.glob("part-*.parquet"))
