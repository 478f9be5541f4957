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


def verdict(rows: Sequence[dict[str, Any]]) -> str:
    """Which needs the fewest bits, and how the model stands to each: better only where the interval says so."""
    best = min(rows, key=lambda row: row["bits_per_byte"])
    model = rows[0]["name"]
    subject = model[0].upper() + model[1:]
    said = [f"The fewest bits per byte: {best['name']} ({best['bits_per_byte']:.3f})."]
    for word, sentence in (
        ("worse", "{subject} is better than {names}."),
        ("tied", "{subject} is tied with {names}: the 95% interval of the difference includes zero."),
        ("better", "{subject} is worse than {names}."),
    ):
        names = [row["name"] for row in rows[1:] if row.get("against_model") == word]
        if names:
            said.append(sentence.format(subject=subject, names=_listed(names)))
    unpaired = [
        f"{row['name']} at {row['bits_per_byte']:.3f} ({_relation(row, rows[0])} than {model})"
        for row in rows[1:]
        if "against_model" not in row
    ]
    if unpaired:
        said.append(f"Coded as one stream, so without an interval: {_listed(unpaired)}.")
    return " ".join(said)


def _relation(row: dict[str, Any], model: dict[str, Any]) -> str:
    return "more" if row["bits_per_byte"] > model["bits_per_byte"] else "fewer"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _ends(interval: Interval) -> list[float]:
    return [interval.low, interval.high]
