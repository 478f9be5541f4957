"""The evaluation's page: the comparison first, then how it was measured, samples and tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bedplate.report.page import Cell, Page
from bedplate.report.plots import Bar, bar_plot

SHOWN_SAMPLES = 8


def evaluation_page(result: Mapping[str, Any], drawn: Sequence[Mapping[str, Any]]) -> Page:
    """result: what evaluation.json holds; drawn: the rows of samples.jsonl."""
    model, part = result["model"], result["language"]
    page = Page(f"Evaluation of {model['name']}", f"{model['parameters']:,} parameters, digest {model['digest'][:12]}")
    page.heading("Bits per byte of held-out text")
    page.text(part["verdict"])
    bars = [_bar(row, emphasis=number == 0) for number, row in enumerate(part["rows"])]
    page.figure(
        bar_plot(bars, title="Bits per byte", value_label="bits per byte (fewer is better)"),
        "Bits needed for a byte of held-out text, with 95% intervals from a bootstrap over documents.",
    )
    page.table(
        ("coder", "has seen", "bits per byte", "minus the model (95% interval)", "against the model"),
        [_comparison_row(row) for row in part["rows"]],
    )
    for note in part["notes"]:
        page.warning(note)
    page.heading("How it was measured")
    page.text(part["rule"])
    page.text(part["sample"])
    page.facts(
        {
            "perplexity a token": part["perplexity"],
            "scored tokens": part["scored_tokens"],
            "bytes of text": part["bytes"],
            "documents": part["documents"],
            "computed in": part["computed_in"],
            "device": model["device"],
        }
    )
    page.text(
        "n-grams are counted over the model's own tokens with interpolated modified Kneser-Ney smoothing: once over "
        "the tokens that the model was trained on, once over all training tokens. gzip and xz run at level 9 with "
        "their headers counted, on each document alone and on all as one stream; they start without any training "
        "text. Better, worse and tied are said of the 95% interval of the difference, paired by document."
    )
    if "samples" in result:
        _samples(page, result["samples"], drawn)
    if "tasks" in result:
        _tasks(page, result["tasks"])
    return page


def _bar(row: Mapping[str, Any], *, emphasis: bool) -> Bar:
    low, high = row.get("interval", (None, None))
    return Bar(row["name"], row["bits_per_byte"], low, high, emphasis)


def _comparison_row(row: Mapping[str, Any]) -> list[Cell]:
    minus = f"{row['minus_model']:+.3f} ({_ends(row['minus_model_interval'])})" if "minus_model" in row else None
    return [row["name"], row["knows"], row["bits_per_byte"], minus, row.get("against_model")]


def _samples(page: Page, part: Mapping[str, Any], drawn: Sequence[Mapping[str, Any]]) -> None:
    page.heading("Generated Python that parses")
    page.text(part["rule"])
    page.table(
        ("texts of", "texts", "parse", "95% interval", "lines in the longest parsing start"),
        [
            [
                name,
                s["texts"],
                _percent(s["parses"]),
                _ends(s["parses_interval"], percent=True),
                _percent(s["parsing_line_share"]),
            ]
            for name, s in (
                ("the model", part["model"]),
                ("real documents, cut alike", part["real_documents_cut_alike"]),
            )
        ],
        caption=f"At most {part['max_tokens']} tokens; temperature {part['temperature']}, top-p {part['top_p']}.",
    )
    for number, sample in enumerate(drawn[:SHOWN_SAMPLES], start=1):
        inside = Page("")
        inside.code(sample["text"])
        verdict = (
            "parses" if sample["parses"] else f"doesn't parse ({sample['parsing_lines']} of {sample['lines']} lines do)"
        )
        page.fold(f"Sample {number}, from {sample['prompt']!r}: {verdict}", inside)


def _tasks(page: Page, tasks: Sequence[Mapping[str, Any]]) -> None:
    page.heading("Multiple choice")
    headers = (
        "task",
        "items",
        "of",
        "shots",
        "accuracy",
        "standard error",
        "length-normalised",
        "standard error",
        "chance",
    )
    fields = ("task", "items", "available", "shots", "acc", "acc_stderr", "acc_norm", "acc_norm_stderr", "chance")
    page.table(headers, [[task[field] for field in fields] for task in tasks])
    _contamination(page, tasks)
    for task in tasks:
        if task["cut_items"]:
            page.warning(
                f"{task['task']}: {task['cut_items']} prompts exceeded the model's context and lost their start."
            )
    for task in tasks:
        if "groups" in task:
            inside = Page("")
            inside.table(
                ("subject", "items", "accuracy", "standard error"),
                [[name, g["items"], g["acc"], g["acc_stderr"]] for name, g in task["groups"].items()],
            )
            page.fold(f"{task['task']} by subject", inside)


def _contamination(page: Page, tasks: Sequence[Mapping[str, Any]]) -> None:
    """The tasks' accuracies on clean items and on dirty ones, for those where they were told apart."""
    parts = [(task["task"], task["contamination"]) for task in tasks if "contamination" in task]
    if not parts:
        return
    first = parts[0][1]
    page.heading("Clean and dirty items", level=3)
    page.text(
        f"An item is dirty where a training document of {', '.join(corpus['name'] for corpus in first['corpora'])} has "
        f"{first['words']} words in a row of it, or all of a question or right answer of at least {first['least']} "
        "words; a model may know such an item rather than work it out. Items of fewer words can't be told."
    )
    names = {"clean": "clean", "dirty": "dirty", "too_short": "too short to tell"}
    page.table(
        ("task", "items", "number", "accuracy", "standard error", "length-normalised", "standard error"),
        [
            [
                task,
                name,
                *(part[state][field] for field in ("items", "acc", "acc_stderr", "acc_norm", "acc_norm_stderr")),
            ]
            for task, part in parts
            for state, name in names.items()
        ],
    )


def _ends(ends: Sequence[float], *, percent: bool = False) -> str:
    return " to ".join(_percent(end) if percent else f"{end:+.3f}" for end in ends)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
