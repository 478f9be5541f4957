"""Which copy stays: a number for every document, of which the least wins."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bedplate.data.deduplicate.config import Keep

if TYPE_CHECKING:
    import pyarrow as pa

Ranks = npt.NDArray[np.int64]

COLUMNS: dict[Keep, list[str]] = {
    "first": [],
    "longest": [],
    "earliest": ["date"],
    "licensed": ["license"],
}
"""The columns that a preference looks at, besides the text."""

LAST = np.iinfo(np.int64).max
UNKNOWN = frozenset({"", "unknown", "none", "noassertion"})
"""What a licence column says where nothing is known; SPDX's NOASSERTION is one of them."""

_DATE = re.compile(r"\s*(\d{4})(?:-?(\d\d)(?:-?(\d\d)(?:[T ](\d\d):?(\d\d)(?::?(\d\d))?)?)?)?")


def ranks(batch: pa.RecordBatch, sizes: npt.NDArray[np.int64], keep: Keep) -> Ranks:
    """The rank of each document, int64 [N]; among copies the least stays, and the first of equals.

    sizes [N]: bytes of their texts. batch: has the columns of COLUMNS[keep].
    """
    if keep == "longest":
        return -sizes
    if keep == "earliest":
        return np.array([_moment(date) for date in batch.column("date").to_pylist()], dtype=np.int64)
    if keep == "licensed":
        known = [str(name or "").strip().lower() not in UNKNOWN for name in batch.column("license").to_pylist()]
        return np.where(np.array(known, dtype=bool), 0, 1).astype(np.int64)
    return np.zeros(batch.num_rows, dtype=np.int64)


def _moment(date: str | None) -> int:
    """An ISO 8601 date as a number that grows with time; what a short one leaves open counts as its beginning."""
    match = _DATE.match(date or "")
    if match is None:
        return int(LAST)
    return int("".join(part.zfill(2) if part else "00" for part in match.groups()))
