"""A document's licence, and what shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bedplate.data.documents import Document
from bedplate.data.extract.source_code import is_source_code
from bedplate.data.rights.license_text import header_notice, header_refuses, is_license_file, license_of, spdx_tag
from bedplate.data.rights.page_signals import PageSignals
from bedplate.data.rights.spdx import UNKNOWN, canonical, parse

Evidence = Literal["spdx-header", "header-notice", "cc-link", "license-file", "declared"]


@dataclass(frozen=True)
class Found:
    """`conflict`: what else is said, where two things say different licences."""

    license: str | None
    evidence: Evidence | None
    conflict: str | None = None


def find_license(document: Document, signals: PageSignals) -> Found:
    """The licence that the document itself shows, before the one of its project, before what its record or source
    declares. Of several licences of one page each holds for some of it: they are joined by AND.

    Of a source file whose head says that it is proprietary, or has a tag that isn't understood, nothing is known.
    `metadata["license_file"]` is what a reader knows of the project: the text of its LICENSE file, or an identifier.
    """
    declared = document.license if document.license and document.license.lower() != UNKNOWN else None
    declared = canonical(declared) or declared
    if is_source_code(document) and (refusal := header_refuses(document.text or "")) is not None:
        return Found(None, None, refusal + (f", declared {declared}" if declared else ""))
    license, evidence = _shown(document, signals)
    if license is None:
        return Found(declared, "declared" if declared else None)
    conflict = None if declared in (None, license) else f"declared {declared}"
    return Found(license, evidence, conflict)


def _shown(document: Document, signals: PageSignals) -> tuple[str | None, Evidence | None]:
    text = document.text or ""
    if is_license_file(document.source) and (name := license_of(text)):
        return name, "license-file"
    if is_source_code(document):
        if name := spdx_tag(text):
            return name, "spdx-header"
        if name := header_notice(text):
            return name, "header-notice"
    if signals.licenses:
        joined = parse(" AND ".join(signals.licenses))
        return str(joined) if joined else None, "cc-link"
    of_project = document.metadata.get("license_file")
    if isinstance(of_project, str) and (name := canonical(of_project) or license_of(of_project)):
        return name, "license-file"
    return None, None
