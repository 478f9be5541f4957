"""Microsoft Presidio beside our rules: its findings as spans of the kind `presidio`."""

from __future__ import annotations

from typing import Any

from bedplate.data.extra import require
from bedplate.data.privacy.config import PresidioConfig
from bedplate.data.privacy.kinds import Span
from bedplate.errors import UserError

LONGEST = 100_000
"""Characters that are given to Presidio at a time: spaCy refuses texts of more than a million."""


class PresidioFinder:
    """Raises UserError, naming what to install, without presidio-analyzer or the spaCy model."""

    def __init__(self, config: PresidioConfig) -> None:
        self._config = config
        analyzer = require("presidio_analyzer", "privacy.presidio", extra="presidio")
        engines = require("presidio_analyzer.nlp_engine", "privacy.presidio", extra="presidio")
        spacy = require("spacy", "privacy.presidio", extra="presidio")
        try:
            # An engine that was given its model doesn't look for one on the network.
            nlp = spacy.blank(config.language) if config.model is None else spacy.load(config.model)
        except (OSError, ImportError) as error:
            raise UserError(
                f"privacy.presidio: the spaCy model {config.model or config.language!r} can't be loaded: {error}",
                "Install it, or give the folder where it is.",
            ) from error
        engine = engines.SpacyNlpEngine(models=[{"lang_code": config.language, "model_name": config.model or "blank"}])
        engine.nlp = {config.language: nlp}
        registry = analyzer.RecognizerRegistry(supported_languages=[config.language])
        registry.load_predefined_recognizers(languages=[config.language], nlp_engine=engine)
        self._engine: Any = analyzer.AnalyzerEngine(
            registry=registry, nlp_engine=engine, supported_languages=[config.language]
        )
        known = set(self._engine.get_supported_entities(config.language))
        unknown = sorted(set(config.entities) - known)
        if unknown:
            raise UserError(
                f"privacy.presidio.entities: Presidio doesn't know {', '.join(unknown)} in {config.language!r}",
                f"Known: {', '.join(sorted(known))}.",
            )

    def find(self, text: str) -> list[Span]:
        """What Presidio finds, with its name of the entity as the rule. Spans may overlap."""
        spans = []
        for first in range(0, len(text), LONGEST):
            found = self._engine.analyze(
                text=text[first : first + LONGEST],
                language=self._config.language,
                entities=list(self._config.entities),
                score_threshold=self._config.least_score,
            )
            spans += [Span(first + f.start, first + f.end, "presidio", str(f.entity_type)) for f in found]
        return spans
