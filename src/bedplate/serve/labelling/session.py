"""`Session`: one annotator at work on one corpus. Every method may be called from any thread."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from bedplate.data.labels.agreement import agreement
from bedplate.data.labels.documents import LabelledCorpus
from bedplate.data.labels.record import Action, Label, labels_only, standing
from bedplate.data.labels.store import LabelFile
from bedplate.serve.api_error import ApiError, refused
from bedplate.serve.labelling.guideline import Guideline

FIRST_CHARACTERS = 12_000
"""Of a text that are sent with its document; the rest is asked for."""
MORE_CHARACTERS = 200_000
LONGEST_S = 24 * 3600.0
MOST_DISPUTED = 200
LONGEST_VALUE = 10_000
"""Characters of a title or a value of metadata that are sent."""
LONGEST_METADATA = 1_000_000
DEEPEST = 30

_OWN = ("title", "url", "source", "license", "language", "date", "split", "synthetic", "bytes")
_FATE = ("stage", "reason", "detail", "other")
_HIDDEN = {*_OWN, *_FATE, "id", "text", "excerpt", "sha256", "status", "metadata", "label", "domain", "group"}
_HIDDEN |= {"record_sha256", "offset"}


class Session:
    """queue: indices of the documents, in the order in which they come."""

    def __init__(
        self,
        corpus: LabelledCorpus,
        labels: LabelFile,
        queue: npt.NDArray[np.int64],
        *,
        choices: Sequence[str],
        annotator: str,
        guideline: Guideline | None,
    ) -> None:
        self._corpus, self._labels, self._queue = corpus, labels, queue
        self._choices, self._annotator, self._guideline = tuple(choices), annotator, guideline
        self._position = {corpus.ids[index]: at for at, index in enumerate(queue.tolist())}
        self._lock = threading.Lock()
        self._held()  # a labels file that can't be read is told before anything is served

    def state(self) -> dict[str, Any]:
        """What the page shows around the document."""
        with self._lock:
            return {
                "corpus": self._corpus.path.resolve().name,
                "annotator": self._annotator,
                "choices": self._choices,
                "guideline": None if self._guideline is None else asdict(self._guideline),
                **self._progress(self._held()),
            }

    def next(self, after: int) -> dict[str, Any]:
        """The first document beyond `after` that the annotator has neither labelled nor skipped, then from the start;
        `at` is None where there is none left."""
        with self._lock:
            held = self._held()
            count = len(self._queue)
            ways = (at % count for at in range(after + 1, after + 1 + count))
            at = next((at for at in ways if (self._id(at), self._annotator) not in held), None)
            return {"at": at, **self._progress(held)}

    def document(self, at: int) -> dict[str, Any]:
        """What is known of the document at a place of the queue, with the beginning of its text."""
        if not 0 <= at < len(self._queue):
            raise ApiError(404, f"there are {len(self._queue)} documents, from 0 on")
        with self._lock:
            row = self._corpus.row(int(self._queue[at]))
            own = self._held().get((row["id"], self._annotator))
            dropped = self._corpus.dropped(int(self._queue[at]))
        signals = {name: value for name, value in row.items() if name not in _HIDDEN and value is not None}
        return {
            "at": at,
            "id": row["id"],
            "sha256": row["sha256"],
            "fate": {"status": "dropped" if dropped else "kept", **{name: _plain(row.get(name)) for name in _FATE}},
            "about": {name: _plain(row[name]) for name in _OWN if row.get(name) is not None},
            "metadata": _opened(row.get("metadata")),
            "signals": {name: _plain(value) for name, value in signals.items()},
            "text": row["text"][:FIRST_CHARACTERS],
            "characters": len(row["text"]),
            "excerpt": dropped and bool(row.get("excerpt")),
            "label": None if own is None else own.label,
            "skipped": own is not None and own.action == "skip",
        }

    def more(self, at: int, start: int) -> dict[str, Any]:
        """Text of a document from a character on."""
        if not 0 <= at < len(self._queue) or start < 0:
            raise ApiError(404, "there is no such text")
        with self._lock:
            text: str = self._corpus.row(int(self._queue[at]))["text"]
        return {"text": text[start : start + MORE_CHARACTERS], "characters": len(text)}

    def say(self, body: dict[str, Any]) -> dict[str, Any]:
        """Put a label, or a skip, on record: `{id, sha256, action, label, seconds}`. Raises ApiError for a bad one."""
        identity, action, label, seconds = (body.get(name) for name in ("id", "action", "label", "seconds"))
        if not isinstance(identity, str) or identity not in self._position:
            raise refused("there is no such document", "id")
        if action not in ("label", "skip"):
            raise refused("action is label or skip", "action")
        if (action == "label") != (label in self._choices) or (action == "skip") != (label is None):
            raise refused(f"label is one of {', '.join(self._choices)}; null for a skip", "label")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or math.isnan(_bounded(seconds)):
            raise refused("seconds is a number", "seconds")
        with self._lock:
            seen = self._corpus.row(int(self._queue[self._position[identity]]))["sha256"]
            if body.get("sha256") != seen:
                raise refused("sha256 isn't that of the document's text; load it again", "sha256")
            self._append(identity, seen, action, label, _bounded(seconds))
            return self._progress(self._held())

    def undo(self) -> dict[str, Any]:
        """Take back what the annotator said last and hasn't taken back yet; `at` is that document's place."""
        with self._lock:
            held = self._held()
            own = [
                record
                for record in self._labels.records()
                if record.annotator == self._annotator
                and record.document in self._position
                and held.get((record.document, self._annotator)) is record
            ]
            if not own:
                return {"at": None, **self._progress(held)}
            last = own[-1]
            self._append(last.document, last.sha256, "undo", None, 0.0)
            return {"at": self._position[last.document], **self._progress(self._held())}

    def agreement(self) -> dict[str, Any]:
        """The figures over all labels in the file, with the places of the documents that are disputed."""
        with self._lock:
            ratings = labels_only(self._held().values())
        found = agreement(ratings)
        disputed = [
            {"id": document, "at": self._position.get(document), "labels": ratings[document]}
            for document in found.disputed[:MOST_DISPUTED]
        ]
        return asdict(found) | {"disputed": disputed, "disputes": len(found.disputed)}

    def _append(self, document: str, sha256: str, action: Action, label: str | None, seconds: float) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        version = None if self._guideline is None else self._guideline.version
        self._labels.append(
            Label(document, label, self._annotator, version, round(seconds, 1), now, sha256, action=action)
        )

    def _held(self) -> dict[tuple[str, str], Label]:
        return standing(self._labels.records())

    def _id(self, at: int) -> str:
        return self._corpus.ids[int(self._queue[at])]

    def _progress(self, held: dict[tuple[str, str], Label]) -> dict[str, Any]:
        own = [held[key] for key in held if key[1] == self._annotator and key[0] in self._position]
        labelled = [record for record in own if record.action == "label"]
        return {
            "total": len(self._queue),
            "labelled": len(labelled),
            "skipped": len(own) - len(labelled),
            "median_seconds": float(np.median([record.seconds for record in labelled])) if labelled else None,
        }


def _bounded(seconds: float) -> float:
    """Between none and LONGEST_S; NaN for what is no finite number."""
    if isinstance(seconds, float) and not math.isfinite(seconds):
        return math.nan
    return float(min(max(seconds, 0), LONGEST_S))


def _opened(metadata: object) -> object:
    """A column of JSON as what it says; anything else, and what is too long to be looked at, as it is."""
    if not isinstance(metadata, str) or len(metadata) > LONGEST_METADATA:
        return _plain(metadata)
    try:
        return _plain(json.loads(metadata))
    except (ValueError, RecursionError):
        return _plain(metadata)


def _plain(value: object, depth: int = 0) -> object:
    """The value as JSON has it: no NaN, dates and bytes as text, long texts cut, and nothing beyond a few levels."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict | list) and depth == DEEPEST:
        return "..."
    if isinstance(value, dict):
        return {str(name)[:LONGEST_VALUE]: _plain(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, depth + 1) for item in value]
    if value is None or isinstance(value, int):
        return value
    text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
