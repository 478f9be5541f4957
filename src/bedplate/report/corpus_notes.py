"""What the page of a corpus says of its columns of numbers: handed in by who knows it, as this part knows no stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Bound:
    """A rule on a column: documents below `min` or above `max` were left out for the reason `rule`."""

    rule: str
    min: float | None = None
    max: float | None = None

    @property
    def words(self) -> str:
        """In words: "50 at least, 100,000 at most"."""
        least = None if self.min is None else f"{self.min:,.6g} at least"
        most = None if self.max is None else f"{self.max:,.6g} at most"
        return ", ".join(part for part in (least, most) if part)


@dataclass(frozen=True)
class ColumnNote:
    """What a column says of a document, what it is measured with, and the rules on it."""

    description: str = ""
    family: str = ""
    bounds: tuple[Bound, ...] = ()


Notes = Mapping[str, ColumnNote]
"""By column. What isn't in it is shown by its name alone."""
