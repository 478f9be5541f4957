"""`bedplate evaluate MODEL --tasks a,b`: the short form, which prints a table and keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bedplate.console import Console
from bedplate.evaluate.benchmarks import run_tasks
from bedplate.evaluate.scoring import load_for_evaluation
from bedplate.tasks.catalogue import check_names


def evaluate_model(
    path: Path, tasks: Sequence[str], limit: int | None, data: Path | None, console: Console
) -> list[dict[str, Any]]:
    """Scores the model in `path` on multiple-choice tasks, shows a table and returns each task's figures.

    limit: items of each task, None for all; data: the folder with the tasks' data, None for the one that BEDPLATE_DATA
    names. Raises UserError for an unknown task, InputError for missing data or model.
    """
    check_names(tasks)
    model = load_for_evaluation(path)
    results, _ = run_tasks(model, tasks, limit, data, console)
    console.table(
        [
            (
                r["task"],
                f"{r['items']:,}",
                r["shots"],
                _with_error(r, "acc"),
                _with_error(r, "acc_norm"),
                f"{r['chance']:.3f}",
            )
            for r in results
        ],
        ("task", "items", "shots", "acc ± standard error", "acc_norm ± standard error", "chance"),
    )
    for r in results:
        if r["cut_items"]:
            console.warn(f"{r['task']}: {r['cut_items']} prompts exceeded the model's context and lost their start")
    return results


def _with_error(result: dict[str, Any], name: str) -> str:
    error = result[f"{name}_stderr"]
    return f"{result[name]:.3f}" + ("" if error is None else f" ± {error:.3f}")
