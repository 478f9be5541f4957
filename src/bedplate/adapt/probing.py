"""Classes from the embeddings of an encoder that stays as it is: a linear probe, or a vote of the nearest examples.

`probe.json` says which, and by its digest on which encoder's weights; the numbers are in safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bedplate.adapt.baselines import log_loss, softmax
from bedplate.adapt.embedding import Embedder, check_encoder
from bedplate.adapt.face import Classification
from bedplate.adapt.fitting import Fitting
from bedplate.adapt.inputs import input_folder
from bedplate.adapt.ways import Nearest, Probe
from bedplate.errors import ArtefactError
from bedplate.ledger.artefact import Artefact

if TYPE_CHECKING:
    from bedplate.families.encoder_model import EncoderModel

FILE = "probe.json"
SHARPNESS = (0.02, 0.05, 0.1, 0.2)
"""Temperatures of a vote, tried on validation: a neighbour counts exp(cosine / temperature)."""
UNSEEN = 0.01
"""Probability that a vote leaves to all classes together, in equal parts: no class is ever impossible."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """Softmax of v weight^T + bias, v a text's vector at length 1: weight [K, D], bias [K]."""

    weight: Floats
    bias: Floats

    def scores(self, vectors: Floats) -> npt.NDArray[np.float64]:
        """[N, D] -> probabilities [N, K]."""
        return softmax(unit(vectors).astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias)


@dataclass(frozen=True)
class Neighbours:
    """Training vectors [M, D] of length 1 and the column of each one's class; how many vote, how sharply."""

    vectors: Floats
    columns: npt.NDArray[np.int64]
    classes: int
    count: int
    temperature: float

    def scores(self, vectors: Floats) -> npt.NDArray[np.float64]:
        """[N, D] -> probabilities [N, K]: the nearest `count` vote, each by its similarity."""
        similar = unit(vectors) @ self.vectors.T
        count = min(self.count, len(self.vectors))
        nearest = np.argpartition(-similar, count - 1, axis=1)[:, :count]
        chosen = np.take_along_axis(similar, nearest, axis=1).astype(np.float64)
        weights = softmax(chosen / self.temperature)
        votes = np.zeros((len(vectors), self.classes))
        np.add.at(votes, (np.arange(len(vectors))[:, None], self.columns[nearest]), weights)
        shares: npt.NDArray[np.float64] = votes * (1 - UNSEEN) + UNSEEN / self.classes
        return shares


class ProbeClassifier:
    """A head, or neighbours, on an encoder that is loaded when it is first asked."""

    def __init__(self, name: str, classes: Sequence[str], head: Head | Neighbours, encoder: Path) -> None:
        self.name, self.classes = name, tuple(classes)
        self._head, self._folder = head, encoder

    @cached_property
    def encoder(self) -> EncoderModel:
        from bedplate.families.encoder_model import EncoderModel

        return EncoderModel.load(self._folder)

    def classify(self, texts: Sequence[str]) -> Classification:
        if not texts:
            return Classification(self.classes, (), np.zeros((0, len(self.classes)), dtype=np.float32), ())
        made = self.encoder.embed_counted(texts)
        scores = self._head.scores(made.vectors)
        labels = tuple(self.classes[k] for k in scores.argmax(axis=1))
        return Classification(self.classes, labels, scores.astype(np.float32), made.tokens)


def fit(way: Probe | Nearest, fitting: Fitting) -> None:
    """Embed the training and validation texts once; fit, and choose on validation. Raises UserError for a probe where
    scikit-learn isn't installed."""
    from safetensors.numpy import save_file

    task, work = fitting.task, fitting.work
    embedder = Embedder(fitting)
    train = embedder.embed([e.input for e in task.train])
    validation = embedder.embed([e.input for e in task.validation])
    facts: dict[str, Any] = {"way": way.way, "encoder": embedder.facts()}
    if isinstance(way, Probe):
        from bedplate.adapt.logistic import fit_logistic

        fitted = fit_logistic(
            unit(train),
            [e.target for e in task.train],
            unit(validation),
            [e.target for e in task.validation],
            way.strengths,
        )
        work.measures["tried"] = fitted.tried
        work.measures["validation_right"] = list(fitted.right)
        facts |= {"classes": list(fitted.classes)}
        save_file(
            {  # safetensors writes an array's bytes as they lie
                "weight": np.ascontiguousarray(fitted.weight, dtype=np.float32),
                "bias": np.ascontiguousarray(fitted.bias, dtype=np.float32),
            },
            work.path / "head.safetensors",
        )
    else:
        facts |= _fit_neighbours(way, fitting, train, validation)
    (work.path / FILE).write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def open_probe(artefact: Artefact, *, base: Path | None = None) -> ProbeClassifier:
    """The classifier in a probe artefact. base: where its encoder is now, if it was moved.

    Raises ArtefactError for an encoder other than the one that it was fitted on, and for a broken folder.
    """
    from safetensors.numpy import load_file

    path = artefact.file(FILE)
    try:
        facts = json.loads(path.read_bytes())
        classes = tuple(facts["classes"])
        if facts["way"] == "probe":
            stored = load_file(artefact.file("head.safetensors"))
            head: Head | Neighbours = Head(stored["weight"], stored["bias"])
        else:
            stored = load_file(artefact.file("neighbours.safetensors"))
            head = Neighbours(
                stored["vectors"], stored["columns"], len(classes), facts["neighbours"], facts["temperature"]
            )
    except (ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{path}: not a probe: {error!r}", "Make it again.") from error
    encoder = input_folder(artefact, "encoder", base)
    check_encoder(facts["encoder"], encoder, artefact.path)
    return ProbeClassifier(artefact.name, classes, head, encoder)


def unit(vectors: Floats) -> Floats:
    """Vectors scaled to length 1."""
    scaled: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return scaled


def _fit_neighbours(way: Nearest, fitting: Fitting, train: Floats, validation: Floats) -> dict[str, Any]:
    """Choose how many vote and how sharply: greatest accuracy on validation, then least log loss."""
    from safetensors.numpy import save_file

    task = fitting.task
    column = {label: k for k, label in enumerate(task.classes)}
    columns = np.array([column[e.target] for e in task.train])
    vectors, targets = unit(train), [e.target for e in task.validation]
    best: tuple[tuple[float, float], int, float, list[bool]] | None = None
    tried: dict[str, Any] = {}
    for count in way.neighbours:
        for temperature in SHARPNESS:
            scores = Neighbours(vectors, columns, len(column), count, temperature).scores(validation)
            right = [task.classes[k] == t for k, t in zip(scores.argmax(axis=1), targets, strict=True)]
            accuracy = float(np.mean(right))
            loss = log_loss(scores, task.classes, targets)
            tried[f"{count} neighbours, temperature {temperature:g}"] = {
                "accuracy": round(accuracy, 4),
                "log_loss": round(loss, 4),
            }
            if best is None or (accuracy, -loss) > best[0]:
                best = (accuracy, -loss), count, temperature, right
    assert best is not None
    fitting.work.measures |= {"tried": tried, "validation_right": best[3]}
    save_file(
        {"vectors": np.ascontiguousarray(vectors), "columns": columns}, fitting.work.path / "neighbours.safetensors"
    )
    return {"classes": list(task.classes), "neighbours": best[1], "temperature": best[2]}
