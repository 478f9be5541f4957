"""What annotators agree on, out of a labels file, and the table that tells it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bedplate.console.figures import counted
from bedplate.data.labels.agreement import Agreement, agreement
from bedplate.data.labels.record import labels_only, standing
from bedplate.data.labels.store import LabelFile
from bedplate.errors import InputError

MOST_DISPUTED = 20


def agreement_of(labels: Path | str) -> Agreement:
    """The agreement of all annotators of a labels file. Raises InputError where it holds no label."""
    ratings = labels_only(standing(LabelFile(Path(labels)).records()).values())
    if not ratings:
        raise InputError(f"{labels}: no labels in it", "Label some: bedplate label CORPUS --labels FILE")
    return agreement(ratings)


def agreement_table(found: Agreement) -> str:
    """A line of figures, and Markdown tables: of each two annotators, of each one's labels; then what is disputed."""
    parts = [f"{counted(found.documents, 'document')} labelled, {found.shared} of them by two annotators or more."]
    if found.observed is not None:
        parts.append(
            f"Two labels of one document are the same in {found.observed:.1%}; "
            f"Krippendorff's alpha: {_figure(found.alpha)}."
        )
    if found.pairs:
        rows = [
            (*pair.annotators, str(pair.documents), f"{pair.agreement:.1%}", _figure(pair.kappa))
            for pair in found.pairs
        ]
        head = ("annotator", "annotator", "documents", "the same", "Cohen's kappa")
        parts.append(_table(head, rows, 2))
    labels = sorted({label for counts in found.counts.values() for label in counts})
    own = [(name, *(str(counts.get(label, 0)) for label in labels)) for name, counts in found.counts.items()]
    parts.append(_table(("annotator", *labels), own, 1))
    if found.disputed:
        more = " ..." if len(found.disputed) > MOST_DISPUTED else ""
        parts.append(f"Disputed, {len(found.disputed)}: {', '.join(found.disputed[:MOST_DISPUTED])}{more}")
    return "\n\n".join(parts) + "\n"


def _figure(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> str:
    """words: columns, from the first, that hold no numbers."""
    rules = [*["---"] * words, *["---:"] * (len(head) - words)]
    safe = ([cell.replace("|", "\\|") for cell in row] for row in (head, rules, *rows))
    return "\n".join(f"| {' | '.join(row)} |" for row in safe)
