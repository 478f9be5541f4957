"""An artefact in words, and in JSON: what it is, where it came from, what it cost, what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bedplate.console.figures import bytes_text, counted, duration
from bedplate.ledger.artefact import Artefact
from bedplate.ledger.lineage import Ancestor, lineage
from bedplate.ledger.manifest import Resource

SHOWN = 12
"""Hexadecimal digits of a digest: enough to tell artefacts apart by eye."""


def describe(artefact: Artefact) -> str:
    """The artefact for people: several paragraphs of plain text."""
    return "\n".join(_lines(artefact))


def facts(artefact: Artefact) -> dict[str, Any]:
    """The artefact for machines: its manifest, its path and its lineage."""
    return {
        "path": str(artefact.path),
        "manifest": artefact.manifest.model_dump(mode="json"),
        "lineage": _ancestor_facts(lineage(artefact)),
    }


def _lines(artefact: Artefact) -> Iterator[str]:
    m = artefact.manifest
    code = f"Bedplate {m.code.version}"
    if m.code.commit:
        code += f" at commit {m.code.commit[:SHOWN]}{' with changes' if m.code.dirty else ''}"
    where = m.environment
    torch = f", torch {where.torch}" if where.torch else ""
    size = sum(output.bytes for output in m.outputs)
    device = where.processor if where.device == "cpu" else f"{where.device} and {where.processor}"
    yield f"{m.name}: a {m.kind} artefact in {artefact.path}"
    yield f"  made     {m.created} by {m.stage} (version {m.stage_version}), {code}"
    yield f"  on       {device}, {counted(where.threads, 'thread')}, Python {where.python}{torch}, {where.platform}"
    yield f"  holds    {len(m.outputs)} files, {bytes_text(size)}"
    yield f"  digest   {m.digest}"
    yield f"  key      {m.key}"
    yield ""
    yield "came from"
    parents = lineage(artefact).parents
    yield from _tree(parents, "  ", set()) if parents else ["  nothing that the ledger knows of"]
    yield ""
    yield "cost"
    for name, resource in m.resources.items():
        yield f"  {name:<16} {_resource(name, resource)}"
    yield ""
    yield "measures"
    yield from _measures(m.measures, "  ")


def _tree(ancestors: tuple[Ancestor, ...], indent: str, shown: set[str]) -> Iterator[str]:
    """A line for each ancestor, below what was made from it. What an artefact came from is told once."""
    for ancestor in ancestors:
        remark = f" ({ancestor.remark})" if ancestor.remark else ""
        state = "" if ancestor.state in ("present", "raw") else f"  {ancestor.state.upper()}"
        kind = "raw source" if ancestor.kind == "raw" else f"{ancestor.role}: {ancestor.kind}"
        known = bool(ancestor.parents) and ancestor.digest in shown
        again = "  (as above)" if known else ""
        yield f"{indent}{kind}  {ancestor.path}  {ancestor.digest[:SHOWN]}{state}{remark}{again}"
        if not known:
            shown.add(ancestor.digest)
            yield from _tree(ancestor.parents, indent + "  ", shown)


def _measures(measures: dict[str, Any], indent: str) -> Iterator[str]:
    if not measures:
        yield f"{indent}none"
    for name, value in measures.items():
        if isinstance(value, dict) and value:
            yield f"{indent}{name}"
            yield from _measures(value, indent + "  ")
        else:
            yield f"{indent}{name:<24} {_value(value)}"


def _value(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        text = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
        first = text.strip().splitlines()[0] if text.strip() else ""
        return first if len(first) <= 100 and first == text.strip() else f"{first[:97]}..."
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _resource(name: str, resource: Resource) -> str:
    note = f"; {resource.note}" if resource.note else ""
    return f"{_quantity(name, resource.value)}  ({resource.method}{note})"


def _quantity(name: str, value: float) -> str:
    if name.endswith("_bytes"):
        return bytes_text(value)
    if name.endswith("_s"):
        return duration(value)
    return f"{value:.4g}"


def _ancestor_facts(ancestor: Ancestor) -> dict[str, Any]:
    return {
        "role": ancestor.role,
        "kind": ancestor.kind,
        "name": ancestor.name,
        "digest": ancestor.digest,
        "path": str(ancestor.path),
        "state": ancestor.state,
        "remark": ancestor.remark,
        "from": [_ancestor_facts(parent) for parent in ancestor.parents],
    }
