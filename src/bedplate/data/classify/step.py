"""The `classify` step of curation: a column of probabilities for each classifier of the recipe."""

from __future__ import annotations

from collections.abc import Mapping

from bedplate.data.classify.config import ClassifierConfig
from bedplate.data.classify.model import LinearClassifier
from bedplate.data.documents import Document
from bedplate.errors import RecipeError
from bedplate.ledger.artefact import open_artefact
from bedplate.ledger.stage import SourceInput


def step(config: Mapping[str, ClassifierConfig]) -> ClassifyStep:
    """The step. Raises ArtefactError, naming the folder, for what is no filter; RecipeError for an impossible name."""
    return ClassifyStep(config)


def sources(config: Mapping[str, ClassifierConfig]) -> list[SourceInput]:
    """The filters as inputs of the curation: another filter in the same folder makes another corpus."""
    found = []
    for _, one in sorted(config.items()):
        artefact = open_artefact(one.filter, "filter")
        found.append(SourceInput(artefact.path, artefact.digest, sum(o.bytes for o in artefact.manifest.outputs)))
    return found


class ClassifyStep:
    """Sets for each classifier the column of its name: the probability of its positive labels, float32 in [0, 1]."""

    name = "classify"

    def __init__(self, config: Mapping[str, ClassifierConfig]) -> None:
        for name in config:
            if not (name.isidentifier() and name.isascii() and name.islower()):
                raise RecipeError(
                    f"classify.{name}: no name for a column", "Use small letters, digits and _, such as toxicity."
                )
        self._classifiers = {
            name: LinearClassifier.load(open_artefact(config[name].filter, "filter").path) for name in sorted(config)
        }
        self.columns: Mapping[str, str] = dict.fromkeys(self._classifiers, "float32")

    def __call__(self, documents: list[Document]) -> None:
        texts = [document.text or "" for document in documents]
        for name, classifier in self._classifiers.items():
            for document, score in zip(documents, classifier.score(texts).tolist(), strict=True):
                document.columns[name] = score
