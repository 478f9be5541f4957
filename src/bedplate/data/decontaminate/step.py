"""The step of curation that looks for evaluation items in documents, and what it says of each task afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bedplate.data.decontaminate.config import DecontaminateConfig
from bedplate.data.decontaminate.index import EvaluationIndex, Match
from bedplate.data.decontaminate.items import evaluation_items
from bedplate.data.documents import Document
from bedplate.data.words import LONGEST

NAME = "decontaminate"
BY, NGRAMS, ITEMS = "contaminated_by", "contamination_ngrams", "contaminated_items"
_SHOWN = 3


def build_index(config: DecontaminateConfig) -> EvaluationIndex:
    """The index that the configuration names or describes. Raises UserError for what is missing or has no items."""
    if config.index is not None:
        return EvaluationIndex.load(Path(config.index))
    items, origins = evaluation_items(config)
    return EvaluationIndex.build(items, origins, words=config.words, least=config.least)


def prepared(config: DecontaminateConfig, path: Path) -> DecontaminateConfig:
    """The configuration with its index made, once, and saved at `path`: each worker then only reads it."""
    build_index(config).save(path)
    return DecontaminateConfig.model_validate(config.model_dump() | {"tasks": (), "files": (), "index": str(path)})


def step(config: DecontaminateConfig) -> Decontaminate:
    """The step as the configuration says."""
    return Decontaminate(config)


class Decontaminate:
    """Says of every document which items it has runs of words of, and drops it, cuts them out or lets them be.

    Columns: contaminated_by, the first few items for people ("mmlu:virology:3; ..."); contamination_ngrams, how many
    runs; contaminated_items, all items by number ("mmlu 3,17-20; gsm8k 7"), for `by_task`. Null, 0, null if clean.
    """

    name = NAME

    def __init__(self, config: DecontaminateConfig) -> None:
        self._config = config
        self.index = build_index(config)
        self._numbers = _numbers(self.index.items)

    @property
    def columns(self) -> dict[str, str]:
        return {BY: "string", NGRAMS: "int32", ITEMS: "string"}

    def __call__(self, documents: list[Document]) -> None:
        for document, match in zip(documents, self.index.matches([d.text or "" for d in documents]), strict=True):
            if match is None:
                document.columns.update({BY: None, NGRAMS: 0, ITEMS: None})
            else:
                self._contaminated(document, match)

    def _contaminated(self, document: Document, match: Match) -> None:
        named = [":".join(self.index.items[item]) for item in match.items[:_SHOWN]]
        more = len(match.items) - len(named)
        by = "; ".join(named) + (f"; and {more:,} more" if more else "")
        numbers = encoded([self._numbers[item] for item in match.items])
        document.columns.update({BY: by, NGRAMS: match.ngrams, ITEMS: numbers})
        if self._config.action == "drop":
            document.drop(NAME, "contaminated", by)
        elif self._config.action == "remove":
            pieces = self.pieces(document.text or "", match)
            if len(pieces) > self._config.most_pieces:
                document.drop(NAME, "contaminated", f"cut into {len(pieces)} pieces by {by}")
            elif not pieces:
                document.drop(NAME, "contaminated", f"nothing left but {by}")
            else:
                document.text = "\n\n".join(pieces)

    def pieces(self, text: str, match: Match) -> list[str]:
        """What is left of a text without the spans and their margins, which give way to whole words."""
        found, after = [], 0
        for first, last in match.spans:
            end = _to_space(text, max(first - self._config.margin, 0), -1)
            found.append(text[after : max(end, after)])
            after = max(after, _to_space(text, min(last + self._config.margin, len(text)), 1))
        found.append(text[after:])
        return [piece for piece in (part.strip() for part in found) if piece and len(piece) >= self._config.least_piece]


def by_task(index: EvaluationIndex, values: Iterable[str | None]) -> dict[str, dict[str, int]]:
    """What the column contaminated_items says of each task: {task: {items, covered (long enough to be looked for),
    touched, documents}}. values: of every document that the step saw, dropped ones too."""
    touched: dict[str, set[int]] = {}
    documents: Counter[str] = Counter()
    for value in values:
        for task, numbers in decoded(value or "").items():
            touched.setdefault(task, set()).update(numbers)
            documents[task] += 1
    out: dict[str, dict[str, int]] = {}
    for (task, _), covered in zip(index.items, index.covered.tolist(), strict=True):
        figures = out.setdefault(task, {"items": 0, "covered": 0})
        figures["items"] += 1
        figures["covered"] += int(covered)
    return {
        task: figures | {"touched": len(touched.get(task, ())), "documents": documents[task]}
        for task, figures in out.items()
    }


def encoded(items: Sequence[tuple[str, int]]) -> str:
    """(task, number in the task), in order, as "mmlu 3,17-20; gsm8k 7"."""
    runs: dict[str, list[list[int]]] = {}
    for task, number in items:
        mine = runs.setdefault(task, [])
        if mine and mine[-1][1] == number - 1:
            mine[-1][1] = number
        else:
            mine.append([number, number])
    spelt = {task: ",".join(str(a) if a == b else f"{a}-{b}" for a, b in mine) for task, mine in runs.items()}
    return "; ".join(f"{task} {numbers}" for task, numbers in spelt.items())


def decoded(value: str) -> dict[str, list[int]]:
    """What `encoded` wrote: {task: numbers}."""
    out: dict[str, list[int]] = {}
    for part in filter(None, value.split("; ")):
        task, _, numbers = part.rpartition(" ")
        ends = [span.partition("-") for span in numbers.split(",")]
        out[task] = [n for first, _, last in ends for n in range(int(first), int(last or first) + 1)]
    return out


def _numbers(items: Sequence[tuple[str, str]]) -> list[tuple[str, int]]:
    """Each item's task and its number in it."""
    counts: Counter[str] = Counter()
    out: list[tuple[str, int]] = []
    for task, _ in items:
        out.append((task, counts[task]))
        counts[task] += 1
    return out


def _to_space(text: str, at: int, way: int) -> int:
    """The next place, backwards or onwards, that cuts no word; words without end are cut."""
    for _ in range(LONGEST):
        if at in (0, len(text)) or text[at - 1].isspace() or text[at].isspace():
            break
        at += way
    return at


def measures(index: EvaluationIndex) -> dict[str, Any]:
    """What the index is made of, for the manifest."""
    return {
        "words": index.words,
        "least": index.least,
        "runs": len(index.hashes),
        "origins": [{"task": o.task, "place": o.place, "sha256": o.sha256} for o in index.origins],
    }
