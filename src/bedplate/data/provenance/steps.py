"""In which steps of a training run a document was seen.

The order of training rows is a pure function of (tokens, length, seed), and a step takes the next `batch` of them: so
nothing had to be written down while the run went, and nothing is read here but the table of documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bedplate.data.best_fit import BestFitRows, training_rows
from bedplate.data.packing import Around, PackedRows
from bedplate.data.span_corruption import Spans
from bedplate.data.tokens import DOCUMENTS, TokenSet
from bedplate.errors import ArtefactError
from bedplate.families.configs import kind_of

if TYPE_CHECKING:
    import pyarrow as pa

PACKED_LENGTH = "packed_length"
"""A run's measure: the pairs in a row of documents, from which the run's own rows were made."""
MOST_SHOWN = 1000
"""Steps that are named one by one."""


@dataclass(frozen=True)
class Place:
    """Where a tokens artefact has a document. entries: its numbers in the split's table, one for each copy in an epoch;
    start, end: its tokens within the shard."""

    split: str
    shard: str
    start: int
    end: int
    copies: int
    phase: int
    entries: tuple[int, ...]

    def facts(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Seen:
    """Steps, counted from 1 as a run's log counts them, of the run's `of`. times: in how many of its passes over the
    documents it came up; note: why the steps can't be told, where they can't."""

    steps: tuple[int, ...]
    times: int
    of: int
    note: str = ""

    def facts(self) -> dict[str, Any]:
        told = {"steps": list(self.steps[:MOST_SHOWN]), "count": len(self.steps), "times": self.times, "of": self.of}
        return told | ({"note": self.note} if self.note else {})


def places_of(tokens: TokenSet, document_id: str) -> list[Place]:
    """Where the documents of this id are: usually one, none where the corpus had none of that text."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = tokens.folder / DOCUMENTS
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ArtefactError(f"{path}: not a whole Parquet file: {error}", "Make the tokens artefact again.") from error
    found = []
    for split in ("train", "validation"):
        rows = table.filter(pc.equal(table.column("split"), split))
        hits = pc.indices_nonzero(pc.equal(rows.column("id"), document_id)).to_pylist()
        copies = _column(rows, "copies", 1)
        for hit, row in zip(hits, rows.take(pa.array(hits, pa.int64())).to_pylist(), strict=True):
            found.append(
                Place(
                    split=split,
                    shard=tokens.shard_name(split, row["shard"]),
                    start=row["start"],
                    end=row["end"],
                    copies=int(copies[hit]),
                    phase=row.get("phase") or 0,
                    entries=_entries(copies, hit),
                )
            )
    return found


def seen_in(
    tokens: TokenSet, config: Mapping[str, Any], places: list[Place], measures: Mapping[str, Any] | None = None
) -> Seen:
    """The steps in which a run with this configuration and these measures (a `pretrain` manifest's) saw documents of
    the train split."""
    entries = [entry for place in places if place.split == "train" for entry in place.entries]
    steps = int(config["steps"])
    if not entries:
        return Seen((), 0, steps)
    packed, note = _packed(tokens, config, measures or {})
    if packed is None:
        return Seen((), 0, steps, note)
    batch = int(config["batch"])
    found = [rows[rows < steps * batch] // batch for rows in _passes(packed, entries, steps * batch)]
    found = [part for part in found if len(part)]
    seen = np.unique(np.concatenate(found)) + 1 if found else np.empty(0, dtype=np.int64)
    return Seen(tuple(seen.tolist()), len(found), steps)


def _passes(packed: PackedRows | BestFitRows, entries: list[int], rows: int) -> list[npt.NDArray[np.int64]]:
    """The rows of each entry in each pass over the documents that the first `rows` rows may reach."""
    shuffles = -(-rows // packed.rows_per_epoch)
    epochs = -(-shuffles * packed.rows_per_epoch * packed.length // packed.pairs_per_epoch)
    return [packed.rows_with(entry, epoch) for epoch in range(epochs) for entry in entries]


def _packed(
    tokens: TokenSet, config: Mapping[str, Any], measures: Mapping[str, Any]
) -> tuple[PackedRows | BestFitRows | None, str]:
    """The rows that the run's objective was made of, as `train.learning` has them; or why they can't be told."""
    objective = config.get("objective") or {}
    kind = kind_of(config["architecture"]["model_type"])
    name = objective.get("name") or {"decoder": "next-token", "encoder": "masked"}.get(kind, "span-corruption")
    length = int(config["length"])
    around: Around | None = None
    if name == "span-corruption":
        length = Spans(objective.get("density", 0.15), objective.get("mean_span", 3.0)).tokens_for(length)
    elif name == "masked":
        around = tokens.tokenizer().around
    elif name == "next-token" and objective.get("fill_in_the_middle"):
        if PACKED_LENGTH not in measures:  # of a run from before it was written down
            return None, "documents were turned round to fill in the middle, and the run doesn't say how long rows were"
        length = int(measures[PACKED_LENGTH])
    elif name not in ("next-token", "prefix"):
        return None, f"the rows of objective {name} aren't known"
    packing = config.get("packing", "stream")  # the one way that there was before this field
    return training_rows(packing, tokens, length, int(config["seed"]), around=around), ""


def _column(rows: pa.Table, name: str, otherwise: int) -> npt.NDArray[np.int64]:
    if name not in rows.column_names:
        return np.full(rows.num_rows, otherwise, dtype=np.int64)
    found: npt.NDArray[np.int64] = rows.column(name).to_numpy().astype(np.int64)
    return found


def _entries(copies: npt.NDArray[np.int64], row: int) -> tuple[int, ...]:
    """The numbers that a row has in `tokens.DocumentTable`, where all rows come once, then those of two copies, ..."""
    numbers, passed = [], 0
    for seen in range(int(copies[row])):
        there = copies > seen
        numbers.append(passed + int(np.count_nonzero(there[:row])))
        passed += int(np.count_nonzero(there))
    return tuple(numbers)
