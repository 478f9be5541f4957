"""What needs no foundation model: the commonest class, words that speak for classes, TF-IDF with logistic regression.

`baseline.json` says which it is and holds what a person can read; `weights.safetensors` the numbers of the last one.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bedplate.adapt.face import Classification
from bedplate.adapt.fitting import Fitting
from bedplate.adapt.tfidf import Features, TfidfClassifier, fit_tfidf
from bedplate.adapt.ways import Keywords, Majority, Tfidf
from bedplate.errors import ArtefactError
from bedplate.ledger.artefact import Artefact

FILE = "baseline.json"
SMOOTHING = 0.5
"""Added to every count of a word in a class, so that a word never seen there still has a finite weight."""
_WORD = re.compile(r"\w+(?:'\w+)?")

Floats = npt.NDArray[np.float64]


class Baseline(ABC):
    """A Classifier without a model: `logits` gives [N, K] log-probabilities up to a constant."""

    def __init__(self, name: str, classes: Sequence[str]) -> None:
        self.name = name
        self.classes = tuple(classes)

    @abstractmethod
    def logits(self, texts: Sequence[str]) -> Floats: ...

    def classify(self, texts: Sequence[str]) -> Classification:
        if not texts:
            return Classification(self.classes, (), np.zeros((0, len(self.classes)), dtype=np.float32), ())
        scores = softmax(self.logits(texts))
        labels = tuple(self.classes[k] for k in scores.argmax(axis=1))
        return Classification(self.classes, labels, scores.astype(np.float32), (0,) * len(texts))


class MajorityBaseline(Baseline):
    """The shares of the classes among the training examples, whatever the text."""

    def __init__(self, name: str, counts: dict[str, int]) -> None:
        super().__init__(name, sorted(counts))
        self._prior = np.log(np.array([counts[label] for label in self.classes], dtype=np.float64))

    def logits(self, texts: Sequence[str]) -> Floats:
        return np.tile(self._prior, (len(texts), 1))


class KeywordBaseline(Baseline):
    """Each word adds its weights to the classes that it speaks for; a text with none of them gets the prior."""

    def __init__(self, name: str, prior: dict[str, float], words: dict[str, dict[str, float]], scale: float) -> None:
        super().__init__(name, sorted(prior))
        self._prior = np.array([prior[label] for label in self.classes])
        self._scale = scale
        column = {label: k for k, label in enumerate(self.classes)}
        self._rules: dict[str, list[tuple[int, float]]] = {}
        for label, rules in words.items():
            for word, weight in rules.items():
                self._rules.setdefault(word, []).append((column[label], weight))

    def logits(self, texts: Sequence[str]) -> Floats:
        out = np.tile(self._prior, (len(texts), 1))
        for row, text in enumerate(texts):
            for word in set(words_of(text)):
                for column, weight in self._rules.get(word, ()):
                    out[row, column] += self._scale * weight
        return out


class TfidfBaseline(Baseline):
    """TF-IDF features times a matrix, as scikit-learn computes them."""

    def __init__(self, name: str, classes: Sequence[str], classifier: TfidfClassifier) -> None:
        super().__init__(name, classes)
        self._classifier = classifier

    def logits(self, texts: Sequence[str]) -> Floats:
        return self._classifier.logits(texts)


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return _WORD.findall(text.lower())


def softmax(logits: Floats) -> Floats:
    """Rows that sum to 1."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def fit(way: Majority | Keywords | Tfidf, fitting: Fitting) -> None:
    """Learn from the training examples; what there is to choose is chosen on validation.

    Raises UserError where scikit-learn isn't installed and the way needs it.
    """
    if isinstance(way, Majority):
        _write(fitting.work.path, {"way": way.way, "counts": _class_counts(fitting)})
    elif isinstance(way, Keywords):
        _fit_keywords(way, fitting)
    else:
        _fit_tfidf(way, fitting)


def open_baseline(artefact: Artefact, *, base: Path | None = None) -> Baseline:
    """The classifier in a baseline artefact. base: not used, as there is none."""
    try:
        found = json.loads(artefact.file(FILE).read_bytes())
        return _read(artefact, found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(f"{artefact.path / FILE}: not a baseline: {error!r}", "Make it again.") from error


def _read(artefact: Artefact, found: dict[str, Any]) -> Baseline:
    if found["way"] == "majority":
        return MajorityBaseline(artefact.name, found["counts"])
    if found["way"] == "keywords":
        return KeywordBaseline(artefact.name, found["log_prior"], found["words"], found["scale"])
    features = Features(**found["features"])
    return TfidfBaseline(
        artefact.name, found["classes"], TfidfClassifier.load(artefact.file("weights.safetensors"), features)
    )


def _class_counts(fitting: Fitting) -> dict[str, int]:
    counts = Counter(example.target for example in fitting.task.train)
    return {label: counts[label] for label in sorted(counts)}


def _fit_keywords(way: Keywords, fitting: Fitting) -> None:
    """Weights are log-odds: how much likelier a text with the word is in the class than outside it, in nats.

    For each class the words that raise the likelihood of its texts most are kept: weight times the number of its texts
    that hold the word. The scale of all weights is chosen on validation: words aren't independent of each other, so
    their plain sum is too sure of itself.
    """
    train = fitting.task.train
    counts = _class_counts(fitting)
    inside: dict[str, Counter[str]] = {label: Counter() for label in counts}
    anywhere: Counter[str] = Counter()
    for example in train:
        seen = set(words_of(example.input))
        inside[example.target].update(seen)
        anywhere.update(seen)
    rules: dict[str, dict[str, float]] = {}
    for label, own in inside.items():
        odds = {
            word: np.log((n + SMOOTHING) / (counts[label] + 2 * SMOOTHING))
            - np.log((anywhere[word] - n + SMOOTHING) / (len(train) - counts[label] + 2 * SMOOTHING))
            for word, n in own.items()
        }
        best = sorted((w for w in odds if odds[w] > 0), key=lambda w: (-odds[w] * own[w], w))[: way.words]
        rules[label] = {word: round(float(odds[word]), 4) for word in best}
    prior = {label: round(float(np.log(n / len(train))), 4) for label, n in counts.items()}
    scale = _best_scale(fitting, prior, rules)
    _write(
        fitting.work.path,
        {"way": way.way, "scale": scale, "log_prior": prior, "words": rules, "smoothing": SMOOTHING},
    )


def _best_scale(fitting: Fitting, prior: dict[str, float], rules: dict[str, dict[str, float]]) -> float:
    validation = fitting.task.validation
    if not validation:
        return 1.0
    texts, targets = [e.input for e in validation], [e.target for e in validation]
    tried = {}
    for scale in (0.25, 0.5, 1.0, 2.0):
        baseline = KeywordBaseline("", prior, rules, scale)
        tried[scale] = log_loss(softmax(baseline.logits(texts)), baseline.classes, targets)
    fitting.work.measures["tried"] = {"scale: log loss on validation": {str(k): round(v, 4) for k, v in tried.items()}}
    return min(tried, key=lambda scale: tried[scale])


def log_loss(scores: Floats, classes: Sequence[str], targets: Sequence[str]) -> float:
    """Mean of -log of the right class's probability, in nats. A target that is no class counts as impossible."""
    column = {label: k for k, label in enumerate(classes)}
    right = [scores[n, column[t]] if t in column else 0.0 for n, t in enumerate(targets)]
    return float(-np.log(np.maximum(right, 1e-12)).mean())


def _fit_tfidf(way: Tfidf, fitting: Fitting) -> None:
    features = Features(words=way.ngrams)
    classifier, fitted = fit_tfidf(
        [e.input for e in fitting.task.train],
        [e.target for e in fitting.task.train],
        [e.input for e in fitting.task.validation],
        [e.target for e in fitting.task.validation],
        features,
        way.strengths,
    )
    fitting.work.measures |= {
        "tried": fitted.tried,
        "features": classifier.count,
        "validation_right": list(fitted.right),
    }
    classifier.save(fitting.work.path / "weights.safetensors")
    _write(fitting.work.path, {"way": way.way, "classes": list(fitted.classes), "features": features.facts()})


def _write(folder: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    (folder / FILE).write_text(text, encoding="utf-8")
