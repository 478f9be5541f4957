"""The step of curation that measures documents: `step`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from bedplate.data.documents import Document
from bedplate.data.signals.config import PerplexityConfig, SignalsConfig
from bedplate.data.signals.language import detector
from bedplate.data.signals.measuring import measure

if TYPE_CHECKING:
    from bedplate.data.curation.step import Step


class Signals:
    """Sets the columns of documents; drops none."""

    name = "signals"

    def __init__(self, config: SignalsConfig) -> None:
        self._config = config
        self.columns: Mapping[str, str] = config.columns
        self._language = None if config.language is None else detector(config.language)
        self._perplexity = None if config.perplexity is None else _perplexity(config.perplexity)

    def __call__(self, documents: list[Document]) -> None:
        """Measure documents with a text; the columns of one without are null."""
        some = [document for document in documents if document.text is not None]
        texts = [document.text or "" for document in some]
        measured = measure(texts, self._config.families, longest=self._config.longest)
        for name, numbers in measured.items():
            for document, number in zip(some, numbers, strict=True):
                document.columns[name] = number
        for document, text in zip(some, texts, strict=True):
            if self._language is not None:
                document.columns["language_detected"], document.columns["language_score"] = self._language(text)
            if self._perplexity is not None:
                document.columns["perplexity_bits_per_byte"] = self._perplexity(text)


def step(config: SignalsConfig) -> Step:
    """The step; models are loaded here. Raises UserError where a library is missing, or as `bedplate.load`."""
    return Signals(config)


def _perplexity(config: PerplexityConfig) -> Callable[[str], float | None]:
    from bedplate.data.signals.perplexity import Perplexity  # torch comes with it

    return Perplexity(config)
