"""Items of tasks that a model's training text gives away, told apart from those that it had to work out.

An item is dirty where a document that training saw shares a run of words with it, by the rule that `curate` leaves such
documents out (Brown et al. 2020, arXiv 2005.14165, appendix C: 13 words); clean where none does; too short where it has
too few words for anybody to tell. It is the finished corpus that counts: what was dropped, cut out or set aside for
validation gives nothing away. Examples of fine-tuning aren't looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bedplate.console import Console
from bedplate.data.corpus import read_corpus
from bedplate.data.curation.evaluations import INDEX_FILE
from bedplate.data.decontaminate.config import DecontaminateConfig
from bedplate.data.decontaminate.index import EvaluationIndex
from bedplate.data.decontaminate.items import EvaluationItem, Origin, evaluation_items
from bedplate.data.decontaminate.step import ITEMS
from bedplate.errors import InputError
from bedplate.evaluate.multiple_choice import Answered, accuracies
from bedplate.ledger import Artefact, open_artefact
from bedplate.ledger.lineage import Ancestor, lineage
from bedplate.ledger.manifest import MANIFEST

State = Literal["clean", "dirty", "too_short"]
STATES: tuple[State, ...] = ("clean", "dirty", "too_short")

_BESIDE = ("tokenizer", "report")
"""Kinds of artefacts on the way to a model whose texts it wasn't trained on."""


@dataclass(frozen=True)
class Contamination:
    """What corpora have of some tasks. words and least: as in `DecontaminateConfig`; corpora: names and digests;
    covered and touched: (task, id) of the items that are long enough to be found, and of those that were."""

    words: int
    least: int
    corpora: tuple[tuple[str, str], ...]
    covered: frozenset[tuple[str, str]]
    touched: frozenset[tuple[str, str]]

    def state(self, task: str, item: str) -> State:
        """Of one item of a task."""
        if (task, item) not in self.covered:
            return "too_short"
        return "dirty" if (task, item) in self.touched else "clean"

    def apart(self, task: str, answered: Sequence[Answered]) -> dict[str, Any]:
        """Accuracies with standard errors of a task's clean and dirty items, and of those too short to tell."""
        groups: dict[State, list[Answered]] = {state: [] for state in STATES}
        for one in answered:
            groups[self.state(task, one.item.id)].append(one)
        return {
            "words": self.words,
            "least": self.least,
            "corpora": [{"name": name, "digest": digest} for name, digest in self.corpora],
            **{state: {"items": len(group), **accuracies(group)} for state, group in groups.items()},
        }


def find_contamination(
    corpora: Sequence[Artefact], tasks: Sequence[str], data: Path, console: Console
) -> Contamination:
    """Look for the items of tasks in the train split of corpora, document after document.

    A corpus that was decontaminated of these very items says itself which documents to look at. Raises InputError and
    UserError as `load_task`, ArtefactError for a damaged corpus.
    """
    names = dict.fromkeys(name.replace("-", "_") for name in tasks)
    config = DecontaminateConfig(tasks=tuple(names), task_data=str(data))
    items, origins = evaluation_items(config)
    built = _built(config, items, origins)
    looked_at = tuple((corpus.name, corpus.digest) for corpus in corpora)
    if built is None:
        return Contamination(config.words, config.least, looked_at, frozenset(), frozenset())
    touched: set[tuple[str, str]] = set()
    for corpus in corpora:
        own = _own_index(corpus, config, origins)
        total = (corpus.measures.get("bytes") or {}).get("train")
        with console.progress(f"evaluation items in {corpus.name}", total, "B") as progress:
            touched |= _touched(corpus, own or built, own is not None, progress.update)
    covered = frozenset(name for name, long in zip(built.items, built.covered.tolist(), strict=True) if long)
    return Contamination(config.words, config.least, looked_at, covered, frozenset(touched & covered))


def training_corpora(model: Path, console: Console) -> list[Artefact]:
    """The corpora that a model was trained on, by its lineage; none for a model that has none. What isn't there any
    more is warned of."""
    if not (model / MANIFEST).is_file():
        return []
    found: dict[str, Artefact] = {}
    for ancestor in _corpora(lineage(open_artefact(model))):
        if ancestor.artefact is None:
            console.warn(
                f"{ancestor.path}: the {ancestor.kind} that the model was made from isn't there any more "
                f"({ancestor.state}); items that are in it count as clean. Give its corpus with --corpus"
            )
        else:
            found.setdefault(ancestor.digest, ancestor.artefact)
    return list(found.values())


def _corpora(one: Ancestor) -> list[Ancestor]:
    """The corpora nearest to an artefact, and whatever on the way to them is missing."""
    if one.kind == "raw" or one.kind in _BESIDE:
        return []
    if one.kind == "corpus" or one.artefact is None:
        return [one]
    near = [parent for parent in one.parents if parent.kind == "corpus"]
    return near or [corpus for parent in one.parents for corpus in _corpora(parent)]


def _built(
    config: DecontaminateConfig, items: Sequence[EvaluationItem], origins: Sequence[Origin]
) -> EvaluationIndex | None:
    try:
        return EvaluationIndex.build(items, origins, words=config.words, least=config.least)
    except InputError:  # all of them are too short
        return None


def _own_index(corpus: Artefact, config: DecontaminateConfig, origins: Sequence[Origin]) -> EvaluationIndex | None:
    """The index that the corpus was decontaminated with, if that marked all its documents with all of these items."""
    path = corpus.path / INDEX_FILE
    whole = corpus.manifest.stage == "curate" and all(entry.role != "earlier" for entry in corpus.manifest.inputs)
    if not whole or not path.is_file():
        return None
    index = EvaluationIndex.load(path)
    same = (index.words, index.least) == (config.words, config.least) and set(origins) <= set(index.origins)
    return index if same else None


def _touched(
    corpus: Artefact, index: EvaluationIndex, marked: bool, done: Callable[[float], None]
) -> set[tuple[str, str]]:
    """(task, id) of the items that training documents share runs with. marked: only documents in which the stage that
    marked them found something are read, as they are now: it may have been cut out."""
    found: set[int] = set()
    size = 0
    for chunk in read_corpus(corpus, ["text", "bytes", *([ITEMS] if marked else [])], "train"):
        asked = chunk[ITEMS] if marked else chunk["text"]
        texts = [text for text, mark in zip(chunk["text"], asked, strict=True) if text and mark]
        found.update(item for match in index.matches(texts) if match is not None for item in match.items)
        size += sum(chunk["bytes"])
        done(size)
    return {index.items[item] for item in found}
