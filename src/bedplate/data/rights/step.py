"""The rights step: each document's licence, domain and opt-outs; what lists and licences don't admit is dropped."""

from __future__ import annotations

from collections.abc import Mapping

from bedplate.data.documents import Document
from bedplate.data.reading.crawled import CrawledDocument
from bedplate.data.rights.config import RightsConfig
from bedplate.data.rights.entries import entry
from bedplate.data.rights.hosts import domain_of, host_of
from bedplate.data.rights.license import find_license
from bedplate.data.rights.opt_out import opt_outs
from bedplate.data.rights.page_signals import PageSignals, header_signals
from bedplate.data.rights.site_files import Site, SiteFiles, site_that_says
from bedplate.data.rights.spdx import forbids, permits
from bedplate.data.rights.takedown import Takedown

STAGE = "rights"


def step(config: RightsConfig) -> RightsStep:
    """Reads the lists. Raises InputError for files that are missing or wrong, naming the line."""
    return RightsStep(config)


class RightsStep:
    """Reasons, in the order in which they are looked for: `taken_down`, `opted_out`, `blocked_domain`, `blocked` (by
    anything else of a list), `license_not_allowed`."""

    name = STAGE
    columns: Mapping[str, str] = {"license_evidence": "string", "opt_out": "string", "domain": "string"}

    def __init__(self, config: RightsConfig) -> None:
        self._config = config
        self._sites = SiteFiles.read(config.site_files)
        self._taken_down = Takedown.read(config.taken_down)
        self._opted_out = Takedown.read(config.opted_out)
        self._blocked = Takedown.read(config.blocked, bare="domain")
        self._blocked_domains = _domains("blocked_domains", config.blocked_domains)
        self._allowed_domains = _domains("allowed_domains", config.allowed_domains)

    def __call__(self, documents: list[Document]) -> None:
        """Sets license and the columns of every document, then drops."""
        for document in documents:
            self._look_at(document)

    def _look_at(self, document: Document) -> None:
        host = host_of(document.url)
        kept = document.metadata.get("rights")
        of_page = isinstance(kept, dict) and bool(kept)
        signals = PageSignals.from_metadata(kept) if of_page else header_signals(document.headers)
        out = opt_outs(signals, self._known(document, host), document.url, self._config)
        listed = self._opted_out.match(document)
        out += ["list"] if listed else []
        found = find_license(document, signals)
        document.license = found.license
        if found.conflict:
            before = kept if isinstance(kept, dict) else {"stated": kept} if kept else {}
            document.metadata["rights"] = before | {"license_conflict": found.conflict}
        document.columns |= {
            "license_evidence": found.evidence,
            "opt_out": ", ".join(out) or None,
            "domain": domain_of(host) if host else None,
        }
        self._drop(document, host, out, listed)

    def _known(self, document: Document, host: str | None) -> list[Site]:
        """What its site says: to the crawler, and in `site_files`."""
        sites = [site] if (site := self._sites.of(host)) is not None else []
        if isinstance(document, CrawledDocument) and document.site_files:
            sites.append(site_that_says(tuple(document.site_files.items())))
        return sites

    def _drop(self, document: Document, host: str | None, out: list[str], listed: str | None) -> None:
        if (entry_found := self._taken_down.match(document)) is not None:
            document.drop(STAGE, "taken_down", entry_found)
        elif listed is not None:
            document.drop(STAGE, "opted_out", listed)
        elif out and self._config.opt_out == "drop":
            document.drop(STAGE, "opted_out", ", ".join(out))
        elif (entry_found := self._blocked_domains.matches(domain=host) or self._blocked.match(document)) is not None:
            document.drop(STAGE, "blocked_domain" if entry_found.startswith("domain=") else "blocked", entry_found)
        elif self._config.allowed_domains and self._allowed_domains.matches(domain=host) is None:
            document.drop(STAGE, "blocked_domain", f"{host or 'no domain'} isn't in allowed_domains")
        elif (self._config.allow and not permits(self._config.allow, document.license)) or forbids(
            self._config.deny, document.license
        ):
            document.drop(STAGE, "license_not_allowed", document.license or "no licence known")


def _domains(field: str, domains: tuple[str, ...]) -> Takedown:
    return Takedown(entry("domain", domain, f"rights.{field}") for domain in domains)
