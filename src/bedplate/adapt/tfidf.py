"""TF-IDF features with logistic regression: fitted by scikit-learn, stored without pickle, applied by our own code.

Two blocks of features, each scaled to length 1: word n-grams, and character n-grams inside words. What a text's
features are is said here once more (the definitions are those of scikit-learn's `TfidfVectorizer`, which the tests hold
this against), so that applying the classifier needs neither scikit-learn nor its version.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bedplate.adapt.logistic import Logistic, fit_logistic, missing_sklearn

Floats = npt.NDArray[np.float64]

_TOKEN = re.compile(r"(?u)\b\w\w+\b")
_SPACE = re.compile(r"\s\s+")
MOST_FEATURES = 50_000
"""Features of one block; the commonest stay."""


@dataclass(frozen=True)
class Features:
    """words: longest word n-gram. characters: shortest and longest n-gram of characters, within words."""

    words: int = 2
    characters: tuple[int, int] = (2, 5)

    def __post_init__(self) -> None:
        object.__setattr__(self, "characters", tuple(self.characters))

    def facts(self) -> dict[str, Any]:
        return asdict(self)

    def word_ngrams(self, text: str) -> Iterator[str]:
        """Runs of 1 to `words` words of two letters or more, in lower case, joined by spaces."""
        tokens = _TOKEN.findall(text.lower())
        for n in range(1, self.words + 1):
            for i in range(len(tokens) - n + 1):
                yield " ".join(tokens[i : i + n])

    def character_ngrams(self, text: str) -> Iterator[str]:
        """Runs of characters of each word, a space set before and after it; a shorter word gives itself, once."""
        low, high = self.characters
        for word in _SPACE.sub(" ", text.lower()).split():
            padded = f" {word} "
            for n in range(low, high + 1):
                yield padded[:n]
                for i in range(1, len(padded) - n + 1):
                    yield padded[i : i + n]
                if len(padded) <= n:
                    break


class TfidfClassifier:
    """vocabularies: n-gram -> column, of words and of characters (whose columns follow). idf [F], weight [F, K], bias
    [K]."""

    def __init__(
        self,
        features: Features,
        vocabularies: tuple[dict[str, int], dict[str, int]],
        idf: npt.NDArray[np.float32],
        weight: npt.NDArray[np.float32],
        bias: npt.NDArray[np.float32],
    ) -> None:
        self.features, self._vocabularies = features, vocabularies
        self._idf, self._weight, self._bias = idf, weight, bias

    @property
    def count(self) -> int:
        """How many features there are."""
        return len(self._idf)

    def logits(self, texts: Sequence[str]) -> Floats:
        """[N, K]."""
        out = np.empty((len(texts), self._weight.shape[1]))
        for row, text in enumerate(texts):
            columns, values = self._vector(text)
            out[row] = values @ self._weight[columns] + self._bias
        return out

    def save(self, path: Path) -> None:
        """Write the numbers to `path`, and the vocabularies beside it as `vocabulary.json`."""
        from safetensors.numpy import save_file

        save_file({"idf": self._idf, "weight": self._weight, "bias": self._bias}, path)
        words, characters = (sorted(v, key=lambda ngram: v[ngram]) for v in self._vocabularies)
        text = json.dumps({"words": words, "characters": characters}, ensure_ascii=False, indent=0)
        path.with_name("vocabulary.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path, features: Features) -> TfidfClassifier:
        """What `save` wrote. Raises ValueError where the parts don't fit together."""
        from safetensors.numpy import load_file

        stored = load_file(path)
        listed = json.loads(path.with_name("vocabulary.json").read_bytes())
        words = {ngram: i for i, ngram in enumerate(listed["words"])}
        characters = {ngram: len(words) + i for i, ngram in enumerate(listed["characters"])}
        F, K = stored["weight"].shape
        if not (len(words) + len(characters) == F == len(stored["idf"]) and len(stored["bias"]) == K):
            raise ValueError(f"{len(words) + len(characters)} n-grams, {F} rows of weights")
        return cls(features, (words, characters), stored["idf"], stored["weight"], stored["bias"])

    def _vector(self, text: str) -> tuple[npt.NDArray[np.int64], Floats]:
        """Columns and values of a text's features that aren't zero."""
        parts = []
        ngrams = (self.features.word_ngrams(text), self.features.character_ngrams(text))
        for found, vocabulary in zip(ngrams, self._vocabularies, strict=True):
            counts = Counter(column for ngram in found if (column := vocabulary.get(ngram)) is not None)
            columns = np.fromiter(counts, dtype=np.int64, count=len(counts))
            # 1 + log(count): the tenth time that a word occurs says less than the first (sublinear_tf).
            values = (1 + np.log(np.fromiter(counts.values(), dtype=np.float64, count=len(counts)))) * self._idf[
                columns
            ]
            length = np.sqrt((values**2).sum())
            parts.append((columns, values / length if length else values))
        return np.concatenate([c for c, _ in parts]), np.concatenate([v for _, v in parts])


def fit_tfidf(
    texts: Sequence[str],
    labels: Sequence[str],
    validation_texts: Sequence[str],
    validation_labels: Sequence[str],
    features: Features,
    strengths: Sequence[float],
) -> tuple[TfidfClassifier, Logistic]:
    """The classifier of the strength that does best on validation, and how that was found.

    Raises UserError, naming the extra, without scikit-learn.
    """
    try:
        from scipy.sparse import hstack
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as error:
        raise missing_sklearn(error) from error

    blocks = [
        TfidfVectorizer(ngram_range=(1, features.words), sublinear_tf=True, max_features=MOST_FEATURES),
        TfidfVectorizer(
            analyzer="char_wb", ngram_range=features.characters, sublinear_tf=True, max_features=MOST_FEATURES
        ),
    ]
    train = hstack([block.fit_transform(texts) for block in blocks]).tocsr()
    validation = hstack([block.transform(validation_texts) for block in blocks]).tocsr() if validation_texts else None
    fitted = fit_logistic(train, labels, validation, validation_labels, strengths)
    offset, vocabularies = 0, []
    for block in blocks:
        vocabularies.append({ngram: offset + int(column) for ngram, column in block.vocabulary_.items()})
        offset += len(block.vocabulary_)
    idf = np.concatenate([block.idf_ for block in blocks]).astype(np.float32)
    classifier = TfidfClassifier(
        features,
        (vocabularies[0], vocabularies[1]),
        idf,
        np.ascontiguousarray(fitted.weight.T, dtype=np.float32),
        fitted.bias.astype(np.float32),
    )
    return classifier, fitted
