"""Retrieval as a way of adapting: fitted to a task, or to nothing but an index; and opened again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bedplate.adapt.bases import LocalBase
from bedplate.adapt.face import Answer, Base
from bedplate.adapt.fitting import Fitting
from bedplate.adapt.inputs import input_base, input_folder
from bedplate.adapt.retrieval.answering import RetrievalAnswerer
from bedplate.adapt.retrieval.calibrating import Judged, exact, f1, is_unanswerable, threshold_of
from bedplate.adapt.retrieval.index import Index
from bedplate.adapt.retrieval.prompts import Style
from bedplate.adapt.retrieval.settings import FILE, RetrievalSettings
from bedplate.adapt.ways import Retrieval
from bedplate.ledger import Artefact, open_artefact
from bedplate.tasks.examples import Example

_TRIED = 64  # validation examples that styles are compared on: each costs an answer of the base
_SMALL = 1_000_000_000
"""Parameters below which a base isn't asked unless validation says that it should be: SmolLM2-135M gives XQuAD's answer
far less often than the sentence that it was shown holds it (benchmarks/retrieval.py)."""


def fit(way: Retrieval, fitting: Fitting) -> None:
    """Choose style and threshold on validation, and write `prompt.json`.

    The threshold is chosen where validation has questions whose answer isn't in the sources (an empty answer, or one
    that says so), and is the default elsewhere. Raises RecipeError where index or base are missing.
    """
    index = Index.open(open_artefact(fitting.folder("index"), "index"), _encoder(fitting))
    base = fitting.base
    settings = RetrievalSettings(passages=way.passages, search=way.search, instruction=way.instruction)
    settings = replace(settings, style=default_style(base))
    rows = fitting.task.validation
    fitting.work.measures["index_chunks"] = len(index)
    if rows:
        settings = _with_threshold(settings, index, base, rows)
    if way.threshold is not None:
        settings = replace(settings, threshold=way.threshold, calibrated=False)
    if rows:
        settings = _with_best_style(settings, index, base, rows, fitting)
    settings.save(fitting.work.path)
    fitting.work.measures |= {
        "style": settings.style,
        "threshold": settings.threshold,
        "threshold_calibrated": settings.calibrated,
    }


def open_retrieval(artefact: Artefact, *, base: Path | None = None) -> RetrievalAnswerer:
    """What `fit` made, ready to be asked. base: where its base is now, if it was moved.

    Raises ArtefactError where its index, the index's encoder or its base aren't what they were.
    """
    settings = RetrievalSettings.load(artefact.file(FILE))
    index = Index.open(open_artefact(input_folder(artefact, "index"), "index"))
    return RetrievalAnswerer(index, input_base(artefact, base), settings, name=artefact.name)


def open_index(artefact: Artefact, *, base: Path | Base) -> RetrievalAnswerer:
    """An index and a base, with nothing fitted: the default settings for a base of its kind."""
    asked: Base = LocalBase(base) if isinstance(base, Path) else base
    settings = RetrievalSettings(style=default_style(asked))
    return RetrievalAnswerer(Index.open(artefact), asked, settings, name=artefact.name)


def default_style(base: Base) -> Style:
    """Quotations where the base is a small model on this machine, its answers from whole passages elsewhere."""
    return "extract" if isinstance(base, LocalBase) and base.model.parameter_count() < _SMALL else "passages"


def _encoder(fitting: Fitting) -> Path | None:
    return fitting.folder("encoder") if "encoder" in fitting.artefacts else None


def _with_threshold(
    settings: RetrievalSettings, index: Index, base: Base, rows: Sequence[Example]
) -> RetrievalSettings:
    """The threshold by the relevance of what is found: the most support that any answer could have. Asks no base."""
    answerer = RetrievalAnswerer(index, base, settings, name="")
    evidence = answerer.evidence([row.input for row in rows])
    judged = [Judged(not is_unanswerable(r.target), e.relevance) for r, e in zip(rows, evidence, strict=True)]
    threshold = threshold_of(judged)
    return settings if threshold is None else replace(settings, threshold=threshold, calibrated=True)


def _with_best_style(
    settings: RetrievalSettings, index: Index, base: Base, rows: Sequence[Example], fitting: Fitting
) -> RetrievalSettings:
    """The style whose answers share most with the right ones; of equal ones the cheapest. An endpoint, which costs
    money, is asked in one only."""
    tried = rows[:_TRIED]
    styles: list[Style] = ["extract", "quotes", "passages"] if isinstance(base, LocalBase) else ["extract", "passages"]
    scores: dict[str, dict[str, Any]] = {}
    for style in styles:
        answerer = RetrievalAnswerer(index, base, replace(settings, style=style), name="")
        answers = answerer.generate_many([[{"role": "user", "content": row.input}] for row in tried])
        scores[style] = _scores(tried, answers) | {"passages_dropped": answerer.dropped}
        if isinstance(base, LocalBase):
            tokens = sum(answer.usage.total_tokens for answer in answers)
            fitting.work.add_flops(2 * base.model.parameter_count() * tokens, "2 N D")
    best = max(styles, key=lambda style: scores[style]["f1"])
    fitting.work.measures |= {"validation": scores[best], "validation_by_style": scores, "validation_asked": len(tried)}
    return replace(settings, style=best)


def _scores(rows: Sequence[Example], answers: Sequence[Answer]) -> dict[str, Any]:
    """Means over the rows: an abstention is right where there is no answer, and wrong where there is one."""
    right = [
        (float(a.abstained), float(a.abstained))
        if is_unanswerable(row.target)
        else (float(exact(a.text, row.target)), f1(a.text, row.target))
        for row, a in zip(rows, answers, strict=True)
    ]
    return {
        "exact_match": sum(match for match, _ in right) / len(right),
        "f1": sum(overlap for _, overlap in right) / len(right),
        "abstained": sum(answer.abstained for answer in answers) / len(answers),
        "prompt_tokens": sum(answer.usage.prompt_tokens for answer in answers) / len(answers),
    }
