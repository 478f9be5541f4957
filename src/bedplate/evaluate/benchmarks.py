"""Multiple-choice tasks run on a model: read all, score one after another, summarise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedplate.console import Console
from bedplate.evaluate.multiple_choice import answer, summarise
from bedplate.evaluate.scoring import BATCH_TOKENS
from bedplate.families.model import Model
from bedplate.tasks.catalogue import data_folder, load_task

if TYPE_CHECKING:
    from bedplate.evaluate.contamination import Contamination


def run_tasks(
    model: Model,
    names: Sequence[str],
    limit: int | None,
    data: str | Path | None,
    console: Console,
    *,
    batch_tokens: int = BATCH_TOKENS,
    contamination: Contamination | None = None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Each task's accuracies, and one row an item; with `contamination`, those of clean and dirty items too. All tasks
    are read before the first is scored."""
    folder = data_folder(None if data is None else Path(data))
    tasks = [load_task(name, folder, limit) for name in names]
    summaries, rows = [], []
    for task in tasks:
        total = sum(len(item.choices) for item in task.items)
        with console.progress(task.name, total, "choices") as progress:
            answered = answer(model, task.items, batch_tokens=batch_tokens, done=progress.update)
        summary, found = summarise(task, answered), [{"task": task.name, **a.row()} for a in answered]
        if contamination is not None:
            summary["contamination"] = contamination.apart(task.name, answered)
            for row in found:
                row["contamination"] = contamination.state(task.name, row["id"])
        summaries.append(summary)
        rows += found
    return summaries, rows
