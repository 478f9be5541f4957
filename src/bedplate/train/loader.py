"""Batches: a step's rows, cut to what this rank takes. A pure function of (seed, step), so nothing is ever replayed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bedplate.data.packing import Rows
from bedplate.train.parallel import Parallel


class RowSource(Protocol):
    """An endless stream of rows, row r a pure function of r."""

    def rows(self, first: int, count: int) -> Rows: ...


class ScoredRows(Protocol):
    """One pass over whole documents. count: rows; documents; pairs: kept places; bytes: UTF-8, of what is scored."""

    count: int
    documents: int
    pairs: int
    bytes: int

    def rows(self, first: int, count: int) -> Rows:
        """Rows [first, first + count), fewer at the end of the pass."""
        ...


class Loader:
    """The rows [step * batch, (step + 1) * batch) of a stream; data rank r takes the r-th equal part."""

    def __init__(self, source: RowSource, batch: int, parallel: Parallel, device: torch.device) -> None:
        self.source, self.device = source, device
        self.share = batch // parallel.data_ranks
        self.offset = parallel.data_rank * self.share
        self.size = batch

    def batch(self, step: int) -> dict[str, Tensor]:
        """This rank's rows of a step, on the device."""
        return to_tensors(self.source.rows(step * self.size + self.offset, self.share), self.device)


def validation_batches(
    rows: ScoredRows, batch: int, parallel: Parallel, device: torch.device
) -> Iterator[dict[str, Tensor]]:
    """One pass over validation rows, dealt out to the data ranks in equal numbers of batches, as collectives need, and
    of one size, lest a compiled net be compiled once more for the last. What is missing is filled with rows that don't
    count."""
    size = min(batch, rows.count)
    filler = rows.rows(0, 1)
    filler = {**filler, "keep": np.zeros_like(filler["keep"])}
    for first in range(0, rows.count, size * parallel.data_ranks):
        mine = first + parallel.data_rank * size
        found = max(0, min(size, rows.count - mine))
        parts = [rows.rows(mine, found)] if found else []
        parts += [filler] * (size - found)
        yield to_tensors({name: np.concatenate([part[name] for part in parts]) for name in filler}, device)


def to_tensors(rows: Rows, device: torch.device) -> dict[str, Tensor]:
    """numpy rows -> tensors on the device."""
    return {name: torch.from_numpy(np.ascontiguousarray(value)).to(device) for name, value in rows.items()}
