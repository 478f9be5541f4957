"""`bedplate evaluate MODEL --tasks a,b` or `--text FILE`: the short forms, which print a table and keep nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bedplate.console import Console
from bedplate.errors import InputError
from bedplate.evaluate.benchmarks import run_tasks
from bedplate.evaluate.language import score_text
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


def evaluate_text(path: Path, file: Path, tokens: int, console: Console) -> dict[str, Any]:
    """Perplexity of the model in `path` on the first `tokens` tokens of a text file, shown and returned.

    In one window, or by the stride rule where the model is meant for fewer. Raises InputError for a file that can't be
    read, isn't UTF-8 or holds fewer than two tokens.
    """
    try:
        text = file.read_bytes().decode()
    except OSError as error:
        raise InputError(f"{file}: can't be read: {error.strerror}", "Give a text file.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 at byte {error.start}", "Give a text file in UTF-8.") from error
    model = load_for_evaluation(path)
    longest = model.config.max_position_embeddings
    scored = score_text(model, text, tokens=tokens, context=longest if tokens > longest else None)
    result = {
        "text": str(file),
        "scored_tokens": int(scored.tokens.sum()),
        "perplexity": scored.perplexity,
        "computed_in": str(model.net.compute_dtype).removeprefix("torch."),
    }
    console.table(
        [(file.name, f"{result['scored_tokens']:,}", f"{scored.perplexity:.3f}", result["computed_in"])],
        ("text", "scored tokens", "perplexity", "computed in"),
    )
    return result


def _with_error(result: dict[str, Any], name: str) -> str:
    error = result[f"{name}_stderr"]
    return f"{result[name]:.3f}" + ("" if error is None else f" ± {error:.3f}")
