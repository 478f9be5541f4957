"""Documents with pictures, among steps that look at texts: a caption is not the whole of what it stands for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bedplate.data.curation.shards import Shards

PICTURE = "picture"


@dataclass(frozen=True)
class WithoutPictures(Shards):
    """The shards as if documents with a picture had been left out: a step to which they are given says nothing of
    these, and what it says of the others holds for the shards that they were made of."""

    @classmethod
    def of(cls, shards: Shards) -> WithoutPictures:
        return cls(shards.folder, shards.count, shards.decided)

    def alive(self, shard: int) -> npt.NDArray[np.bool_]:
        """Which documents of a shard have no picture, and were left out by nothing yet."""
        import pyarrow.parquet as pq

        pictures = pq.read_table(self.path(shard), columns=[PICTURE]).column(PICTURE)
        plain: npt.NDArray[np.bool_] = pictures.is_null().to_numpy()
        return super().alive(shard) & plain
