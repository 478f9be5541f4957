"""What deciding between copies needs of every document, as arrays beside its keys: its id, its hash, and its rank."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bedplate.data.corpus import identity
from bedplate.data.curation.shards import Shards
from bedplate.data.deduplicate import preference
from bedplate.data.deduplicate.config import Keep
from bedplate.data.deduplicate.pictures import PICTURE

if TYPE_CHECKING:
    import pyarrow as pa

ID = "id.npy"
"""uint8 [rows, 12], the digits of the document's id; zeros for one that was left out."""
SHA256 = "sha256.npy"
"""uint8 [rows, 32], the `identity` of the text as it is now and the picture; zeros for a document that was left out."""
NAME = "name.npy"
"""uint8 [rows, 32], its `identity` from before all steps that cut texts; clusters are called by it. Zeros as above."""
BYTES = "bytes.npy"
"""int64 [rows], of the text as it is now; zeros as above."""
RANK = "rank.npy"
"""int64 [rows]: among copies the least stays."""


@dataclass(frozen=True)
class Texts:
    """Some documents of a shard: their rows within it [N], their texts as UTF-8, of which document i has
    offsets[i] to offsets[i + 1], their identities, uint8 [N, 32], and their pictures' hashes."""

    rows: npt.NDArray[np.int64]
    utf8: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    sha256: npt.NDArray[np.uint8]
    pictures: list[str | None]


class ArrayWriter:
    """Writes an .npy of known length from blocks that come in order; rows that none brings are zeros, and on most file
    systems take no room."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self._width = int(np.prod(shape[1:], dtype=np.int64)) * self._dtype.itemsize
        self._rows = shape[0]
        self._file: IO[bytes] = path.open("wb")
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": tuple(int(n) for n in shape),
        }
        np.lib.format.write_array_header_1_0(self._file, header)
        self._begin = self._file.tell()

    def put(self, rows: npt.NDArray[np.int64], values: npt.NDArray[np.generic]) -> None:
        """Values [N, ...] of rows [N], which rise."""
        if not len(rows):
            return
        first = int(rows[0])
        block = np.zeros((int(rows[-1]) + 1 - first, *values.shape[1:]), dtype=self._dtype)
        block[rows - first] = values
        self._file.seek(self._begin + first * self._width)
        self._file.write(block.tobytes())

    def close(self) -> None:
        self._file.truncate(self._begin + self._rows * self._width)
        self._file.close()


def written(shards: Shards, shard: int, keep: Keep, folder: Path) -> Iterator[Texts]:
    """The documents of a shard that nothing has left out yet, some at a time, while their facts are written."""
    count = shards.rows(shard)
    ids = ArrayWriter(folder / ID, (count, 12), np.uint8)
    hashes = ArrayWriter(folder / SHA256, (count, 32), np.uint8)
    ranked = ArrayWriter(folder / RANK, (count,), np.int64)
    for rows, batch in shards.read(shard, ["text", "id", PICTURE, *preference.COLUMNS[keep]]):
        text, offsets = _utf8(batch.column("text"))
        view = text.data
        ends = offsets.tolist()
        digests = [hashlib.sha256(view[a:b]).digest() for a, b in pairwise(ends)]
        pictures = batch.column(PICTURE).to_pylist()
        for i, picture in enumerate(pictures):
            if picture is not None:
                digests[i] = bytes.fromhex(identity(digests[i].hex(), picture))
        sha256 = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 32)
        names = bytes.fromhex("".join(batch.column("id").to_pylist()))
        ids.put(rows, np.frombuffer(names, dtype=np.uint8).reshape(-1, 12))
        hashes.put(rows, sha256)
        ranked.put(rows, preference.ranks(batch, np.diff(offsets), keep))
        yield Texts(rows, text, offsets, sha256, pictures)
    ids.close()
    hashes.close()
    ranked.close()


def _utf8(column: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """A string column's bytes and offsets, without making a string of each. A null counts as an empty text."""
    import pyarrow as pa

    array = column if pa.types.is_large_string(column.type) else column.cast(pa.large_string())
    if array.null_count:
        array = array.fill_null("")
    _, offsets, data = array.buffers()
    places = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    text = np.frombuffer(data, dtype=np.uint8) if data is not None and data.size else np.empty(0, dtype=np.uint8)
    first = int(places[0])
    return text[first : int(places[-1])], places - first
