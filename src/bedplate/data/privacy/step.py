"""The `privacy` step of curation: counts personal data, masks it, or drops the document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from bedplate.data.documents import Document
from bedplate.data.privacy.config import PrivacyConfig
from bedplate.data.privacy.kinds import Span, mask, resolve
from bedplate.data.privacy.scanner import Scanner

_DEEPEST = 20
"""Levels of metadata; what lies deeper is left out."""


def step(config: PrivacyConfig) -> PrivacyStep:
    """The step. Raises UserError where Presidio is wanted and missing."""
    return PrivacyStep(config)


class PrivacyStep:
    """Sets `personal_<kind>` and `personal_data`, then masks text, title and metadata, or drops the document with the
    reason `personal_<kind>` of the first kind, in order of priority, that has enough findings."""

    name = "privacy"

    def __init__(self, config: PrivacyConfig) -> None:
        self._wanted, self._drop_from = config.wanted, config.drop_from
        self._scanner = Scanner(list(self._wanted), config.countries, private=config.private_addresses)
        self._presidio = None
        if config.presidio is not None and "presidio" in self._wanted:
            from bedplate.data.privacy.presidio import PresidioFinder

            self._presidio = PresidioFinder(config.presidio)
        self._masked = {kind for kind, action in self._wanted.items() if action in ("mask", "drop")}
        names = [*(f"personal_{kind}" for kind in self._wanted), "personal_data"]
        self.columns: Mapping[str, str] = dict.fromkeys(names, "int32")

    def __call__(self, documents: list[Document]) -> None:
        for document in documents:
            self._work(document)

    def _work(self, document: Document) -> None:
        text = document.text or ""
        spans = self.find(text)
        counts = Counter(span.kind for span in spans)
        for kind in self._wanted:
            document.columns[f"personal_{kind}"] = counts[kind]
        document.columns["personal_data"] = len(spans)
        for kind, action in self._wanted.items():
            if action == "drop" and counts[kind] >= self._drop_from:
                rules = ", ".join(sorted({span.rule for span in spans if span.kind == kind}))
                document.drop("privacy", f"personal_{kind}", f"{counts[kind]} ({rules})")
                break
        # Also of a dropped document: its title and metadata are still written.
        if document.text is not None:
            document.text = self._mask(text, spans)
        if document.title is not None:
            document.title = self._mask(document.title, self.find(document.title))
        if document.metadata:
            document.metadata = self._mask_within(document.metadata, 0)

    def find(self, text: str) -> list[Span]:
        """All findings of the kinds that are looked for, none overlapping another."""
        spans = self._scanner.find(text)
        return spans if self._presidio is None else resolve([*spans, *self._presidio.find(text)], text)

    def _mask(self, text: str, spans: list[Span]) -> str:
        chosen = [span for span in spans if span.kind in self._masked]
        return mask(text, chosen) if chosen else text

    def _mask_within(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._mask(value, self.find(value))
        if depth == _DEEPEST:
            return None
        if isinstance(value, dict):
            return {key: self._mask_within(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._mask_within(item, depth + 1) for item in value]
        return value
