"""Labels out of Bedplate (Label Studio), into it, and on to whatever learns from them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bedplate.console.figures import counted
from bedplate.data.labels.documents import LabelledCorpus
from bedplate.data.labels.label_studio import labelling_config, read_label_studio, tasks
from bedplate.data.labels.record import Label, standing
from bedplate.data.labels.store import LabelFile
from bedplate.errors import InputError
from bedplate.ledger.atomic import atomic_write

Keep = Literal["majority", "all"]


@dataclass(frozen=True)
class Exported:
    """What was written, and what couldn't be."""

    written: int
    missing: tuple[str, ...]
    """Documents with labels that are no longer in the corpus."""
    changed: tuple[str, ...]
    """Documents whose text isn't the one that was labelled; they are left out."""
    tied: tuple[str, ...] = ()
    """Documents on which as many annotators say one thing as another; left out of a majority."""

    def told(self) -> list[str]:
        """A line for each kind of document that isn't in the file, with their ids."""
        kinds = (("no longer in the corpus", self.missing), ("text changed", self.changed), ("tied", self.tied))
        return [f"{what}: {counted(len(ids), 'document')} ({_few(ids)})" for what, ids in kinds if ids]


def export_label_studio(corpus: Path, labels: Path, out: Path) -> Exported:
    """Write the labelled documents as Label Studio tasks to `out`, and its labelling interface to `out` + ".xml".

    Raises InputError where nothing was labelled, ArtefactError where there is no corpus.
    """
    held, documents, missing, changed = _together(corpus, labels)
    found = tasks(documents, held)
    choices = list(dict.fromkeys(label.label for given in held.values() for label in given if label.label is not None))
    atomic_write(out, json.dumps(found, ensure_ascii=False, indent=1) + "\n")
    atomic_write(out.with_name(out.name + ".xml"), labelling_config(sorted(choices)))
    return Exported(len(found), missing, changed)


def export_examples(corpus: Path, labels: Path, out: Path, *, keep: Keep = "majority") -> Exported:
    """Write training examples as JSON Lines, `{id, text, label, annotator}`, in the corpus's order.

    keep: `all` gives a line for each label; `majority` one for each document, with the label that most annotators gave
    (annotator: their pseudonyms, comma between), and none where the first place is shared.
    Raises InputError where nothing was labelled, ArtefactError where there is no corpus.
    """
    held, documents, missing, changed = _together(corpus, labels)
    lines, tied = [], []
    for document in documents:
        given = [label for label in held[document["id"]] if label.label is not None]
        if not given:
            continue
        examples = _majority(given) if keep == "majority" else [(str(label.label), label.annotator) for label in given]
        if not examples:
            tied.append(document["id"])
        for label, annotator in examples:
            row = {"id": document["id"], "text": document["text"], "label": label, "annotator": annotator}
            lines.append(json.dumps(row, ensure_ascii=False))
    atomic_write(out, "".join(line + "\n" for line in lines))
    return Exported(len(lines), missing, changed, tuple(tied))


def import_label_studio(export: Path, labels: Path) -> int:
    """Append the labels of a Label Studio JSON export that the file doesn't have yet; how many those were."""
    file = LabelFile(labels)
    held = standing(file.records())
    new = [label for label in read_label_studio(export) if held.get((label.document, label.annotator)) != label]
    if new:
        file.append(*new)
    return len(new)


def _together(
    corpus: Path, labels: Path
) -> tuple[dict[str, list[Label]], list[dict[str, Any]], tuple[str, ...], tuple[str, ...]]:
    """The labels and skips by document, the documents with their texts, those that are gone, and those that changed."""
    held: dict[str, list[Label]] = {}
    for label in standing(LabelFile(labels).records()).values():
        held.setdefault(label.document, []).append(label)
    if not held:
        raise InputError(f"{labels}: no labels in it", f"Label some: bedplate label {corpus}")
    opened = LabelledCorpus(corpus)
    there = set(opened.ids)
    missing = tuple(document for document in held if document not in there)
    documents, changed = [], []
    for document in opened.texts(held):
        seen = [label for label in held[document["id"]] if label.sha256 == document["sha256"]]
        if seen:
            held[document["id"]] = seen
            documents.append(document)
        else:
            changed.append(document["id"])
    return held, documents, missing, tuple(changed)


def _majority(given: Sequence[Label]) -> list[tuple[str, str]]:
    ranked = Counter(str(label.label) for label in given).most_common(2)
    if len(ranked) == 2 and ranked[0][1] == ranked[1][1]:
        return []
    winner = ranked[0][0]
    return [(winner, ",".join(sorted(label.annotator for label in given if label.label == winner)))]


def _few(ids: Sequence[str]) -> str:
    return ", ".join(ids[:5]) + (" ..." if len(ids) > 5 else "")
