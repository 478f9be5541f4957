"""`data why`: all that a corpus knows of one document, as JSON: from where, what each stage said, where it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bedplate.data.provenance.finding import Found, copies_of
from bedplate.data.provenance.forwards import Forwards
from bedplate.data.provenance.origin import curation_of
from bedplate.ledger import Artefact

_ORIGIN = ("source", "label", "url", "domain", "title", "date", "license", "license_evidence", "language", "offset",
           "record_sha256", "group", "synthetic")  # fmt: skip
_FATE = ("status", "stage", "reason", "detail", "other")
_DUPLICATION = ("cluster", "semantic_cluster", "semantic_similarity", "repeated_fraction")
_CONTAMINATION = ("contaminated_by", "contamination_ngrams", "contaminated_items")
_HIGHLIGHTS = ("description", "author", "canonical_url", "language", "site_name", "extractor", "charset",
               "warc_record_id", "license_file", "rights")  # fmt: skip
_ELSEWHERE = {
    *_ORIGIN, *_FATE, *_DUPLICATION, *_CONTAMINATION,
    *("id", "text", "excerpt", "metadata", "split", "bytes", "sha256", "copies", "phase", "opt_out", "failed_rules"),
}  # fmt: skip


def story(corpus: Artefact, found: Found, forwards: Forwards | None) -> dict[str, Any]:
    """Everything about one document: `id`, `kept`, `from`, `said` by each stage, `ended`, `copies`, and with `forwards`
    what was made of it (`used`)."""
    row = found.row
    config = curation_of(corpus)
    told: dict[str, Any] = {
        "id": row["id"],
        "sha256": row["sha256"],
        "bytes": row["bytes"],
        "kept": found.kept,
        "from": _from(corpus, row),
        "said": _said(row, config, found.kept),
        "ended": _ended(corpus, found),
        "copies": copies_of(corpus, row["id"]) if found.kept and row["id"] else [],
        "excerpt": (row.get("text") or row.get("excerpt") or "")[:300] or None,
    }
    if forwards is not None and row["id"] and (found.kept or row.get("reason") == "taken_down"):
        told["used"] = forwards.of(row["id"])
    return told


def _from(corpus: Artefact, row: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: row[name] for name in _ORIGIN if row.get(name) is not None}
    if "synthetic" in told:
        told["synthetic"] = _parsed(told["synthetic"])
    metadata = _parsed(row.get("metadata")) or {}
    declared = corpus.measures.get("sources", {}).get(row.get("label"), {}).get("license")
    if declared is not None:
        told["declared_license"] = declared
    told["highlights"] = _highlights(metadata)
    told["metadata"] = metadata
    return told


def _highlights(metadata: Mapping[str, Any]) -> dict[str, Any]:
    graph = metadata.get("open_graph")
    flat = {**(graph if isinstance(graph, dict) else {}), **metadata}
    return {name: flat[name] for name in _HIGHLIGHTS if flat.get(name) not in (None, "", [], {})}


def _said(row: Mapping[str, Any], config: Mapping[str, Any], kept: bool) -> dict[str, Any]:
    """What each stage measured or decided; a stage that the document didn't reach isn't there."""
    columns = {name: value for name, value in row.items() if name not in _ELSEWHERE and value is not None}
    privacy = {name: columns.pop(name) for name in list(columns) if name.startswith("personal_")}
    classifiers = [name for name in config.get("classify") or {} if name in columns]
    scores = {name: columns.pop(name) for name in classifiers}
    told: dict[str, Any] = {
        "rights": {name: row[name] for name in ("license", "license_evidence", "opt_out") if row.get(name) is not None},
        "privacy": privacy,
        "classify": scores,
        "filters": _judged(row, config),
        "decontaminate": {name: row[name] for name in _CONTAMINATION if row.get(name) is not None},
        "deduplicate": {name: row[name] for name in _DUPLICATION if row.get(name) is not None},
        "mix": {name: row[name] for name in ("copies", "phase") if kept and row.get(name) is not None},
        "signals": columns,
    }
    return {stage: said for stage, said in told.items() if said}


def _judged(row: Mapping[str, Any], config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each rule with its value, bound and verdict, out of the columns and the corpus's own configuration."""
    from pydantic import ValidationError

    from bedplate.data.filters.config import FiltersConfig
    from bedplate.data.filters.judging import judge

    section = config.get("filters")
    if not section or row.get("failed_rules") is None:  # none, or it didn't get as far as to the filters
        return []
    try:
        filters = FiltersConfig.model_validate(section)
    except ValidationError:  # of another version's making
        return []
    return [judgement.facts() for judgement in judge(filters, row)]


def _ended(corpus: Artefact, found: Found) -> dict[str, Any]:
    row = found.row
    place = {"file": str(corpus.path / found.file), "row": found.number}
    if found.kept:
        return {"status": "kept", **place, "split": row["split"]}
    return {**{name: row.get(name) for name in _FATE}, **place}


def _parsed(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return text
