"""`bedplate evaluate MODEL --tasks a,b` or `--text FILE`: the short forms, which print a table and keep nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bedplate.console import Console
from bedplate.errors import InputError
from bedplate.evaluate.benchmarks import run_tasks
from bedplate.evaluate.contamination import find_contamination, training_corpora
from bedplate.evaluate.language import score_text
from bedplate.evaluate.scoring import load_for_evaluation
from bedplate.ledger import open_artefact
from bedplate.tasks.catalogue import check_names, data_folder


def evaluate_model(
    path: Path,
    tasks: Sequence[str],
    limit: int | None,
    data: Path | None,
    console: Console,
    corpus: Path | None = None,
) -> list[dict[str, Any]]:
    """Scores the model in `path` on multiple-choice tasks, shows a table and returns each task's figures.

    limit: items of each task, None for all; data: the folder with the tasks' data, None for the one that BEDPLATE_DATA
    names; corpus: what the model was trained on, None for what its lineage says; where that is known, clean and dirty
    items are told apart. Raises UserError for an unknown task, InputError for missing data or model, ArtefactError for
    what isn't a corpus.
    """
    check_names(tasks)
    given = None if corpus is None else open_artefact(corpus, "corpus")
    model = load_for_evaluation(path)
    corpora = training_corpora(path, console) if given is None else [given]
    found = find_contamination(corpora, tasks, data_folder(data), console) if corpora else None
    results, _ = run_tasks(model, tasks, limit, data, console, contamination=found)
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
    if found is not None:
        _tell_contamination(results, console)
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


def _tell_contamination(results: Sequence[dict[str, Any]], console: Console) -> None:
    """Each task's accuracy on items that the training text has nothing of, and on those that it has something of."""
    parts = [(r["task"], r["contamination"]) for r in results]
    console.table(
        [
            (
                task,
                f"{part['clean']['items']:,}",
                _with_error(part["clean"], "acc"),
                f"{part['dirty']['items']:,}",
                _with_error(part["dirty"], "acc"),
                f"{part['too_short']['items']:,}",
            )
            for task, part in parts
        ],
        ("task", "clean items", "acc ± standard error", "dirty items", "acc ± standard error", "too short to tell"),
    )
    for part in [part for _, part in parts][:1]:
        names = ", ".join(corpus["name"] for corpus in part["corpora"])
        console.say(f"dirty: the training text of {names} has {part['words']} words in a row of the item")


def _with_error(result: dict[str, Any], name: str) -> str:
    if result[name] is None:
        return ""
    error = result[f"{name}_stderr"]
    return f"{result[name]:.3f}" + ("" if error is None else f" ± {error:.3f}")
