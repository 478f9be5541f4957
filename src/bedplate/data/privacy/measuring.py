"""How well personal data is found: recall and precision of each kind on planted data, and findings in clean text."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bedplate.data.privacy.kinds import KINDS, Kind, Span
from bedplate.data.privacy.planting import Planted, plant
from bedplate.data.privacy.scanner import Scanner

ENOUGH = 0.9
"""The share of a planted item's characters that a finding must cover."""


@dataclass(frozen=True)
class KindMeasure:
    """planted, found: of those, with a finding of the kind; wrong: findings of the kind elsewhere in planted items or
    decoys. clean: findings in the text that nothing was planted in (they may be true: an author's address)."""

    kind: Kind
    planted: int
    found: int
    wrong: int
    clean: int

    @property
    def recall(self) -> float:
        return self.found / max(self.planted, 1)

    @property
    def precision(self) -> float:
        return self.found / max(self.found + self.wrong, 1)


@dataclass(frozen=True)
class Measured:
    """kinds: figures of each kind; missed: planted items that weren't found; wrong: findings that aren't right; clean:
    findings outside, by kind, rule and text, the most frequent first."""

    kinds: tuple[KindMeasure, ...]
    missed: tuple[tuple[str, str], ...]
    wrong: tuple[tuple[str, str], ...]
    clean: tuple[tuple[tuple[str, str, str], int], ...]

    def table(self) -> str:
        """The figures as a Markdown table."""
        head = ("kind", "planted", "found", "recall", "wrong", "precision", "in clean text")
        rows = [
            (m.kind, m.planted, m.found, f"{m.recall:.3f}", m.wrong, f"{m.precision:.3f}", m.clean) for m in self.kinds
        ]
        lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, ("---",) * len(head), *rows)]
        return "\n".join(lines)


def measure(scanner: Scanner, lines: Sequence[str], *, each: int = 200, seed: int = 0) -> Measured:
    """Plant `each` items of every kind into the lines (each with its line end), look, and compare."""
    text, planted = plant(lines, each, seed)
    spans = scanner.find(text)
    hit: set[int] = set()
    wrong: list[tuple[Span, str]] = []
    clean: Counter[tuple[str, str, str]] = Counter()
    starts = [item.start for item in planted]
    for span in spans:
        index = _item_at(planted, starts, span)
        written = text[span.start : span.end]
        if index is None:
            clean[span.kind, span.rule, written] += 1
        elif _is_right(planted[index], span):
            hit.add(index)
        elif planted[index].kind != span.kind:
            wrong.append((span, written))
    kinds = []
    for kind in KINDS:
        indices = [i for i, item in enumerate(planted) if item.kind == kind]
        if indices:
            kinds.append(
                KindMeasure(
                    kind,
                    len(indices),
                    sum(i in hit for i in indices),
                    sum(span.kind == kind for span, _ in wrong),
                    sum(count for (of, _, _), count in clean.items() if of == kind),
                )
            )
    missed = [
        (str(item.kind), text[item.start : item.end])
        for i, item in enumerate(planted)
        if item.kind is not None and i not in hit
    ]
    return Measured(
        tuple(kinds),
        tuple(missed),
        tuple((f"{span.kind} {span.rule}", written) for span, written in wrong),
        tuple(sorted(clean.items(), key=lambda item: (-item[1], item[0]))),
    )


def _item_at(planted: Sequence[Planted], starts: Sequence[int], span: Span) -> int | None:
    """The planted item that the span touches."""
    index = bisect_right(starts, span.end - 1) - 1
    return index if index >= 0 and planted[index].end > span.start else None


def _is_right(item: Planted, span: Span) -> bool:
    overlap = min(item.end, span.end) - max(item.start, span.start)
    return item.kind == span.kind and overlap >= ENOUGH * (item.end - item.start)
