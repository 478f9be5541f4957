"""Batches: a step's rows, cut to what this rank takes. A pure function of (seed, step), so nothing is ever replayed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from bedplate.data.packing import Rows
from bedplate.data.row_sources import FiniteRows, RowSource
from bedplate.train.parallel import Parallel


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
    rows: FiniteRows, batch: int, parallel: Parallel, device: torch.device
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


def counted_batches(
    rows: FiniteRows, batch: int, parallel: Parallel, device: torch.device
) -> Iterator[tuple[dict[str, Tensor], bool]]:
    """`validation_batches` for rows of any kind, each batch with whether it counts. Rows without `keep` have no way to
    say that they only fill up: the last batch is shorter, and a rank that has none left gets one that doesn't count."""
    filler = rows.rows(0, 1)
    if "keep" in filler:
        for whole in validation_batches(rows, batch, parallel, device):
            yield whole, True
        return
    for first in range(0, rows.count, batch * parallel.data_ranks):
        mine = first + parallel.data_rank * batch
        found = max(0, min(batch, rows.count - mine))
        yield to_tensors(rows.rows(mine, found) if found else filler, device), found > 0


def to_tensors(rows: Rows, device: torch.device) -> dict[str, Tensor]:
    """numpy rows -> tensors on the device."""
    return {name: torch.from_numpy(np.ascontiguousarray(value)).to(device) for name, value in rows.items()}
