"""`Document`: what is known of one document on its way from a raw source into a corpus, or out of it.

Readers make documents, the stages of curation change them, and each says what became of it: none is ever just missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["kept", "dropped", "failed"]

Value = str | int | float | bool | None
"""What a signal's column holds."""


@dataclass
class Document:
    """A document, and its fate so far. A reader sets the first part; stages of curation the second."""

    source: str
    """Its name in the corpus, alone of its kind and the same on every machine: "crawl/a.warc.gz#17", "books/x.txt"."""
    text: str | None
    """None where `data` still has to be extracted, or where the document was dropped before it had a text."""
    data: bytes | None = None
    """A page as it was fetched, which has no text yet."""
    content_type: str | None = None
    """Of `data`, as it was served: "text/html; charset=latin-1"."""
    bytes: int = 0
    """Size where it lay; known even where the text isn't."""
    url: str | None = None
    title: str | None = None
    date: str | None = None
    """When it was fetched or written, ISO 8601 in UTC as far as it is known: "2024-05-01T12:00:00Z", "1911"."""
    license: str | None = None
    """As the record itself declares it; the source's declaration stands where this is None."""
    language: str | None = None
    """As the record or the source declares it."""
    group: str | None = None
    """What it must share a split with."""
    offset: int | None = None
    """Where its record begins: the byte in the file as it lies there, or the row of a table."""
    record_sha256: str | None = None
    """Of the record's own bytes, where there is such a thing."""
    label: str | None = None
    """The label of the source that it first came from, where that isn't the one it is read from now."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """HTTP headers that came with it, names in lower case."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """JSON: what the page or file says of itself (description, Open Graph, JSON-LD), what extraction found."""
    synthetic: str | None = None
    """JSON: what wrote it and from what; None for what people wrote."""
    images: tuple[str, ...] = ()
    """The pictures that belong to it: paths within its source."""

    columns: dict[str, Value] = field(default_factory=dict)
    """Signals: {column: value}."""
    status: Status = "kept"
    stage: str | None = None
    """The stage that dropped it or failed on it."""
    reason: str | None = None
    """A short word, of which there are few: "too_large", "gopher_short"."""
    detail: str | None = None
    """For people: what was found, and where."""

    def drop(self, stage: str, reason: str, detail: str | None = None) -> None:
        """Leave it out, for a reason that the configuration gives. The first reason stands."""
        self._end("dropped", stage, reason, detail)

    def fail(self, stage: str, reason: str, detail: str | None = None) -> None:
        """Leave it out because it could not be worked on."""
        self._end("failed", stage, reason, detail)

    @property
    def alive(self) -> bool:
        """Whether nothing has left it out yet."""
        return self.status == "kept"

    def _end(self, status: Status, stage: str, reason: str, detail: str | None) -> None:
        if self.status == "kept":
            self.status, self.stage, self.reason, self.detail = status, stage, reason, detail


@dataclass(frozen=True)
class Failure:
    """A record that can't be read: its name in the corpus, where it is for a person, why, and what to do about it."""

    source: str
    place: str
    reason: str
    problem: str
    fix: str
    bytes: int = 0
