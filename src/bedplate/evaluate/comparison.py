"""The model beside its baselines on the very same documents, and in plain words which is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedplate.evaluate.statistics import Interval, ratio_interval

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Contender:
    """One way of coding the held-out documents. bits [documents]; None where it codes them only together."""

    name: str
    knows: str
    """What it has seen before the first held-out byte."""
    bits: Floats | None
    total_bits: float


def compare(model: Contender, baselines: Sequence[Contender], bytes_: Floats, seed: int) -> dict[str, Any]:
    """Bits per byte of all with 95% intervals, each baseline's difference to the model, and the verdict in words.

    Differences are paired by document: both are resampled with the same documents, so what makes a document hard for
    everybody cancels out.
    """
    rows = [_row(model, model, bytes_, seed)] + [_row(baseline, model, bytes_, seed) for baseline in baselines]
    return {"rows": rows, "verdict": verdict(rows)}


def _row(contender: Contender, model: Contender, bytes_: Floats, seed: int) -> dict[str, Any]:
    value = contender.total_bits / float(bytes_.sum())
    row: dict[str, Any] = {"name": contender.name, "knows": contender.knows, "bits_per_byte": value}
    if contender.bits is None or model.bits is None:
        return row
    row["interval"] = _ends(ratio_interval(contender.bits, bytes_, seed))
    if contender is not model:
        difference = ratio_interval(contender.bits - model.bits, bytes_, seed)
        row |= {"minus_model": difference.value, "minus_model_interval": _ends(difference)}
        row["against_model"] = "worse" if difference.low > 0 else "better" if difference.high < 0 else "tied"
    return row


def standing(rows: Sequence[dict[str, Any]]) -> str:
    """How the model stands to each baseline, in one sentence; better or worse only where the interval says so."""
    model = rows[0]
    standings = [
        f"{words} {_listed(names)}"
        for word, words in (("worse", "better than"), ("tied", "tied with"), ("better", "worse than"))
        if (names := [row["name"] for row in rows[1:] if row.get("against_model") == word])
    ]
    said = f"{model['name']} needs {model['bits_per_byte']:.3f} bits for a byte of held-out text"
    return said[0].upper() + said[1:] + (f": {'; '.join(standings)}." if standings else ".")


def verdict(rows: Sequence[dict[str, Any]]) -> str:
    """`standing`, and the figures of what is coded as one stream, of which without an interval nothing is concluded."""
    streams = [f"{row['name']} {row['bits_per_byte']:.3f}" for row in rows[1:] if "against_model" not in row]
    return standing(rows) + (f" Without an interval: {_listed(streams)}." if streams else "")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _ends(interval: Interval) -> list[float]:
    return [interval.low, interval.high]
