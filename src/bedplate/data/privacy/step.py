"""The `privacy` step of curation: counts personal data, masks it, or drops the document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from bedplate.data.curation.record_id import RECORD_ID, record_id
from bedplate.data.curation.step import Step
from bedplate.data.documents import Document
from bedplate.data.privacy.config import PrivacyConfig
from bedplate.data.privacy.kinds import Span, mask, resolve
from bedplate.data.privacy.masking import Masker
from bedplate.data.privacy.scanner import Scanner


def step(config: PrivacyConfig) -> PrivacyStep:
    """The step. Raises UserError where Presidio is wanted and missing."""
    return PrivacyStep(config)


def masker_of(steps: Iterable[Step]) -> Masker | None:
    """What masks the rest of a row, by the privacy step among the steps; None where nothing is to be masked."""
    return next((step.masker for step in steps if isinstance(step, PrivacyStep)), None)


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
        self.masker = Masker(self._masked_prose, self._masked_name) if self._masked else None

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
        if self.masker is None:
            return
        # Also of a dropped document: its title and metadata are still written.
        if document.text is not None:
            document.text = self._mask(text, spans)
        if document.title is not None:
            document.title = self.masker.prose(document.title)
        if document.metadata:
            # Two people's ids may be one when masked: the raw ones are told apart by their hash.
            if (own := record_id(document.metadata)) is not None:
                document.columns[RECORD_ID] = own
            document.metadata = self.masker.value(document.metadata)

    def find(self, text: str) -> list[Span]:
        """All findings of the kinds that are looked for, none overlapping another."""
        spans = self._scanner.find(text)
        return spans if self._presidio is None else resolve([*spans, *self._presidio.find(text)], text)

    def _mask(self, text: str, spans: list[Span]) -> str:
        chosen = [span for span in spans if span.kind in self._masked]
        return mask(text, chosen) if chosen else text

    def _masked_prose(self, text: str) -> str:
        return self._mask(text, self.find(text))

    def _masked_name(self, text: str) -> str:
        return self._mask(text, self._scanner.find(text))
