"""`LinearClassifier`: weights over hashed n-grams, saved as safetensors beside a JSON file that says what they mean."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from bedplate.config import Config
from bedplate.data.classify.config import Features
from bedplate.data.classify.features import Sparse, sparse_batches
from bedplate.errors import ArtefactError

Floats = npt.NDArray[np.float32]

WEIGHTS = "classifier.safetensors"
SETTINGS = "classifier.json"
FORMAT = 1
_MOST_SETTINGS = 1 << 20
_MOST_HEADER = 4096


class Settings(Config):
    """`classifier.json`."""

    format: int = Field(FORMAT, ge=FORMAT, le=FORMAT, description="The version of this file's form.")
    features: Features = Field(description="What of a text it sees.")
    positive: tuple[str, ...] = Field(min_length=1, description="The labels whose probability it gives.")
    negative: tuple[str, ...] = Field(min_length=1, description="The labels that it was held against.")
    threshold: float = Field(ge=0, le=1, description="The probability from which a text counts as positive.")
    measures: dict[str, Any] = Field(default_factory=dict, description="How it did on examples kept apart.")


class LinearClassifier:
    """A text's probability of the positive label: the logistic function of weights times features, the features
    weighted by idf and scaled to length 1. weight, idf: float32 [buckets]."""

    def __init__(self, settings: Settings, weight: Floats, idf: Floats, bias: float) -> None:
        self.settings, self.weight, self.idf, self.bias = settings, weight, idf, bias

    def score(self, texts: Sequence[str]) -> Floats:
        """The probabilities, float32 [N]. A text's doesn't depend on the others; one without a word has the bias's."""
        out = np.empty(len(texts), dtype=np.float32)
        for first, sparse in sparse_batches(texts, self.settings.features):
            out[first : first + sparse.count] = self._probabilities(sparse)
        return out

    def _probabilities(self, sparse: Sparse) -> Floats:
        values = (sparse.values * self.idf[sparse.columns]).astype(np.float64)
        # Sums of one row by bincount go in the order of its columns, whatever rows are beside it.
        lengths = np.sqrt(np.bincount(sparse.rows, values * values, minlength=sparse.count))
        sums = np.bincount(sparse.rows, values * self.weight[sparse.columns], minlength=sparse.count)
        logits = sums / np.maximum(lengths, 1e-12) + self.bias
        return (0.5 + 0.5 * np.tanh(0.5 * logits)).astype(np.float32)  # no overflow, unlike 1 / (1 + exp)

    def save(self, folder: Path) -> None:
        """Write the two files."""
        from safetensors.numpy import save_file

        arrays = {"weight": self.weight, "idf": self.idf, "bias": np.array([self.bias], dtype=np.float32)}
        save_file(arrays, folder / WEIGHTS)
        text = json.dumps(self.settings.model_dump(mode="json"), ensure_ascii=False, indent=1, allow_nan=False)
        (folder / SETTINGS).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> LinearClassifier:
        """What `save` wrote. Sizes are looked at before anything is read. Raises ArtefactError for a file that is
        missing, too large, of a wrong type or shape, or not finite."""
        settings = _read_settings(folder / SETTINGS)
        weight, idf, bias = _read_weights(folder / WEIGHTS, settings.features.buckets)
        return cls(settings, weight, idf, float(bias[0]))


def _size(path: Path, most: int) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ArtefactError(f"{path}: can't be read: {error.strerror}", _MEND) from error
    if size > most:
        raise ArtefactError(f"{path}: {size:,} bytes, where at most {most:,} can be right", _MEND)


_MEND = "Make the filter again: bedplate train-filter."


def _read_settings(path: Path) -> Settings:
    _size(path, _MOST_SETTINGS)
    try:
        return Settings.model_validate_json(path.read_bytes())
    except (ValidationError, RecursionError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        what = "nested too deeply" if first is None else f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise ArtefactError(f"{path}: not a classifier's settings: {what}", _MEND) from error


def _read_weights(path: Path, buckets: int) -> tuple[Floats, Floats, Floats]:
    from safetensors import SafetensorError, safe_open

    _size(path, 8 * buckets + 4 + _MOST_HEADER)
    shapes = {"weight": [buckets], "idf": [buckets], "bias": [1]}
    try:
        with safe_open(path, framework="numpy") as file:
            if sorted(file.keys()) != sorted(shapes):
                raise ArtefactError(f"{path}: holds {', '.join(sorted(file.keys()))}, not weight, idf and bias", _MEND)
            for name, shape in shapes.items():
                tensor = file.get_slice(name)
                if tensor.get_dtype() != "F32" or tensor.get_shape() != shape:
                    raise ArtefactError(
                        f"{path}: {name} is {tensor.get_dtype()} {tensor.get_shape()}, not F32 {shape}", _MEND
                    )
            weight, idf, bias = (np.asarray(file.get_tensor(name)) for name in ("weight", "idf", "bias"))
    except (SafetensorError, OSError) as error:
        raise ArtefactError(f"{path}: not a whole safetensors file: {error}", _MEND) from error
    for name, array in (("weight", weight), ("idf", idf), ("bias", bias)):
        if not np.isfinite(array).all():
            raise ArtefactError(f"{path}: {name} holds numbers that aren't finite", _MEND)
    if (idf < 0).any():
        raise ArtefactError(f"{path}: idf below zero", _MEND)
    return weight, idf, bias
