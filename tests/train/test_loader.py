"""Batches are cut from one global order, whatever the number of ranks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_case import LENGTH, UnevenRows

from bedplate.train.loader import Loader, validation_batches
from bedplate.train.parallel import Parallel

CPU = torch.device("cpu")


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("tensor_ranks", [1, 2])
def test_ranks_cut_the_same_rows(ranks, tensor_ranks):
    places = [Parallel(rank, ranks * tensor_ranks, tensor_ranks) for rank in range(ranks * tensor_ranks)]
    loaders = [Loader(UnevenRows(), 8, place, CPU) for place in places]
    for step in (0, 5):
        parts = [loader.batch(step) for loader in loaders]
        whole = UnevenRows().rows(step * 8, 8)
        for name, expected in whole.items():
            # The ranks that share matrices see the same rows.
            for first in range(0, len(parts), tensor_ranks):
                assert all(torch.equal(parts[first][name], parts[first + i][name]) for i in range(tensor_ranks))
            found = torch.cat([part[name] for part in parts[::tensor_ranks]])
            assert np.array_equal(found.numpy(), expected)


class FewRows(UnevenRows):
    def __init__(self, count):
        super().__init__(kept=1.0)
        self.count = count


@pytest.mark.parametrize("count", [1, 7, 8, 9])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_validation_rows_count_once_and_ranks_stay_in_step(count, ranks):
    each = [list(validation_batches(FewRows(count), 2, Parallel(rank, ranks), CPU)) for rank in range(ranks)]
    assert len({len(batches) for batches in each}) == 1
    assert len({tuple(batch["tokens"].shape) for batches in each for batch in batches}) == 1
    counted = [
        row.tolist()
        for batches in each
        for batch in batches
        for row, keep in zip(batch["tokens"], batch["keep"], strict=True)
        if keep.any()
    ]
    expected = FewRows(count).rows(0, count)
    assert sorted(counted) == sorted(row.tolist() for row in expected["tokens"])
    assert sum(int(batch["keep"].sum()) for batches in each for batch in batches) == count * LENGTH
