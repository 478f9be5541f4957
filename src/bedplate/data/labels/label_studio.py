"""Label Studio's JSON: tasks with their annotations, out and in (https://labelstud.io/guide/task_format).

Its users are e-mail addresses or numbers of one installation, and it refuses annotations by users that it doesn't know.
So a pseudonym goes into each result's `meta`, which it keeps as it is, and from there comes back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from bedplate.data.labels.record import Label
from bedplate.errors import InputError

FROM, TO = "label", "text"


def labelling_config(choices: Sequence[str]) -> str:
    """The labelling interface, in its XML, that the tasks of `tasks` go with."""
    options = "".join(f"\n    <Choice value={quoteattr(choice)}/>" for choice in choices)
    return (
        f'<View>\n  <Text name="{TO}" value="$text"/>\n'
        f'  <Choices name="{FROM}" toName="{TO}" choice="single">{options}\n  </Choices>\n</View>\n'
    )


def tasks(documents: Iterable[Mapping[str, Any]], labels: Mapping[str, Sequence[Label]]) -> list[dict[str, Any]]:
    """A task for each document (`id`, `text`, `source`), with an annotation for each of its labels and skips."""
    return [
        {
            "data": {"id": document["id"], "text": document["text"], "source": document["source"]},
            "annotations": [_annotation(label) for label in labels.get(document["id"], ())],
        }
        for document in documents
    ]


def _annotation(label: Label) -> dict[str, Any]:
    result = {
        "id": hashlib.sha256(f"{label.document} {label.annotator}".encode()).hexdigest()[:10],
        "from_name": FROM,
        "to_name": TO,
        "type": "choices",
        "value": {"choices": [] if label.label is None else [label.label]},
        "meta": {"annotator": label.annotator, "guideline": label.guideline, "sha256": label.sha256},
    }
    return {
        "result": [result],
        "was_cancelled": label.action == "skip",
        "lead_time": label.seconds,
        "created_at": label.time,
    }


def read_label_studio(path: Path) -> list[Label]:
    """The labels of a JSON export (not JSON-MIN), whether or not its tasks came from here, in order.

    A task's document is `data.id`, or else what the text's hash makes its id. Annotators without a pseudonym are called
    `labelstudio-` and their number, or a part of the hash of what names them: an e-mail address isn't taken over.
    Raises InputError naming the task that isn't as it should be.
    """
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file that can be read: {error}", "Export as JSON.") from error
    if not isinstance(found, list):
        raise InputError(f"{path}: not a list of tasks", "Export as JSON.")
    labels: list[Label] = []
    for number, task in enumerate(found, 1):
        try:
            labels += _of_task(task)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            raise InputError(
                f"{path} task {number}: not a Label Studio task with choices: {error!r}",
                "Export as JSON (not JSON-MIN), from a project whose tasks have `text` and one Choices tag.",
            ) from error
    return labels


def _of_task(task: dict[str, Any]) -> Iterable[Label]:
    data = task["data"]
    text = data["text"]
    digest = hashlib.sha256(text.encode()).hexdigest()
    document = str(data.get("id") or digest[:24])
    for annotation in task["annotations"]:
        results = [result for result in annotation["result"] if result["type"] == "choices"]
        if not results and not annotation.get("was_cancelled"):
            continue
        meta = (results[0].get("meta") or {}) if results else {}
        chosen = results[0]["value"]["choices"] if results else []
        if len(chosen) > 1:
            raise ValueError(f"{len(chosen)} choices at once, where one is read")
        skipped = bool(annotation.get("was_cancelled")) or not chosen
        yield Label(
            document=document,
            label=None if skipped else str(chosen[0]),
            annotator=str(meta.get("annotator") or _annotator(annotation.get("completed_by"))),
            guideline=meta.get("guideline"),
            seconds=max(0.0, float(annotation.get("lead_time") or 0.0)),
            time=str(annotation.get("created_at") or annotation.get("updated_at") or "1970-01-01T00:00:00Z"),
            sha256=str(meta.get("sha256") or digest),
            action="skip" if skipped else "label",
        )


def _annotator(completed_by: object) -> str:
    if isinstance(completed_by, dict):
        completed_by = completed_by.get("id") or completed_by.get("email")
    if isinstance(completed_by, int):
        return f"labelstudio-{completed_by}"
    if completed_by is None:
        return "labelstudio"
    return f"labelstudio-{hashlib.sha256(str(completed_by).encode()).hexdigest()[:8]}"
