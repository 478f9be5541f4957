"""`Label`: one thing that an annotator said of a document, and its form on disk."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Literal, get_args

Action = Literal["label", "skip", "undo"]


@dataclass(frozen=True)
class Label:
    """One line of a labels file. Later ones of the same annotator and document stand in place of earlier ones."""

    document: str
    """Its id in the corpus."""
    label: str | None
    """None for a document that was skipped or whose label was taken back."""
    annotator: str
    """A pseudonym."""
    guideline: str | None
    """Version of the guideline that was followed; None where there was none."""
    seconds: float
    """How long the document was before the annotator's eyes."""
    time: str
    """When, ISO 8601 in UTC: "2024-05-01T12:00:00Z"."""
    sha256: str
    """Of the text that was seen, as UTF-8."""
    action: Action = "label"

    def line(self) -> bytes:
        """The record as a line of JSON, with its end."""
        return json.dumps(asdict(self), ensure_ascii=False, allow_nan=False).encode() + b"\n"


_TEXTS = ("document", "annotator", "time", "sha256")
_NAMES = {field.name for field in fields(Label)}


def parse(line: bytes) -> Label:
    """The record of a line. Raises ValueError, saying what is wrong with it."""
    found = json.loads(line.decode("utf-8"))
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    unknown, absent = sorted(found.keys() - _NAMES), sorted(_NAMES - {"action"} - found.keys())
    if unknown or absent:
        raise ValueError(f"fields unknown: {unknown}; missing: {absent}")
    if not all(isinstance(found[name], str) and found[name] for name in _TEXTS):
        raise ValueError(f"each of {', '.join(_TEXTS)} has to be a text")
    if not all(found[name] is None or isinstance(found[name], str) for name in ("label", "guideline")):
        raise ValueError("label and guideline have to be texts or null")
    seconds, action = found["seconds"], found.get("action", "label")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds < 0:
        raise ValueError("seconds has to be a number from 0 on")
    if action not in get_args(Action) or (action == "label") != bool(found["label"]):
        raise ValueError("action has to be label (with a label), skip or undo")
    return Label(**found | {"seconds": float(seconds)})


def standing(records: Iterable[Label]) -> dict[tuple[str, str], Label]:
    """What holds after all of them: {(document, annotator): its last label or skip}, in the order of the first ones.

    An undo takes away whatever the annotator had said of the document.
    """
    held: dict[tuple[str, str], Label] = {}
    for record in records:
        if record.action == "undo":
            held.pop((record.document, record.annotator), None)
        else:
            held[record.document, record.annotator] = record
    return held


def labels_only(held: Iterable[Label]) -> dict[str, dict[str, str]]:
    """{document: {annotator: label}}, without what was skipped."""
    found: dict[str, dict[str, str]] = {}
    for record in held:
        if record.label is not None:
            found.setdefault(record.document, {})[record.annotator] = record.label
    return found
