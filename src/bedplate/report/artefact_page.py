"""The page of an artefact: what it is, where it came from, what it cost, what was counted, and what it holds.

An artefact's folder is closed once it is committed, so its page goes into `.pages/` beside it and can be made again at
any time from the folder alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bedplate.console.figures import bytes_text, duration
from bedplate.ledger import Artefact, atomic_write
from bedplate.ledger.atomic import storage_errors
from bedplate.ledger.manifest import Resource
from bedplate.report.ancestry import ancestry
from bedplate.report.corpus import SHOWN, add_corpus
from bedplate.report.corpus_notes import Notes
from bedplate.report.markup import escape, link
from bedplate.report.measures import add_measures, flat, scalar
from bedplate.report.page import Cell, Page
from bedplate.report.quantities import prefixed_text
from bedplate.report.training import add_training, read_metrics

MOST_OUTPUTS = 200

_RESOURCES = {
    "wall_s": "time",
    "cpu_s": "CPU time",
    "gpu_s": "GPU time",
    "flops": "arithmetic",
    "peak_rss_bytes": "greatest memory",
    "peak_gpu_bytes": "greatest GPU memory",
    "energy_kwh": "energy",
}


def page_path(artefact: Artefact) -> Path:
    """Where the artefact's page lies: `.pages/NAME.html` in the folder that the artefact is in."""
    folder = artefact.path.absolute()
    return folder.parent / ".pages" / f"{folder.name}.html"


def write_page(artefact: Artefact, notes: Notes | None = None) -> Path:
    """Write the artefact's page and return its path. notes: of a corpus's columns, from whoever knows its stages.
    Raises StorageError where its folder can't be written."""
    path = page_path(artefact)
    html = artefact_page(artefact, notes)
    with storage_errors(path.parent, kept="the artefact itself is untouched"):
        path.parent.mkdir(exist_ok=True)
    atomic_write(path, html)
    return path


def artefact_page(artefact: Artefact, notes: Notes | None = None) -> str:
    """The page as HTML. Reads metrics, tables and samples from the artefact's files where its kind has them."""
    manifest = artefact.manifest
    page = Page(artefact.name, f"A {artefact.kind} artefact, made by {manifest.stage} on {manifest.created}.")
    _identity(page, artefact)
    if artefact.kind == "report":
        _report_links(page, artefact)
    if artefact.kind == "run":
        add_training(page, read_metrics(artefact.file("metrics.jsonl")))
    shown = [*SHOWN] if artefact.kind == "corpus" else []
    if not any(artefact.measures.get("synthetic", {}).get("documents", {}).values()):
        shown.append("synthetic")
    add_measures(page, {name: value for name, value in artefact.measures.items() if name not in shown})
    if artefact.kind == "corpus":
        add_corpus(page, artefact, notes)
    page.heading("Where it came from")
    page.tree([ancestry(artefact)])
    _resources(page, manifest.resources)
    page.heading("How it was made")
    page.facts(flat(artefact.config))
    _provenance(page, artefact)
    _outputs(page, artefact)
    return page.html()


def _identity(page: Page, artefact: Artefact) -> None:
    outputs = artefact.manifest.outputs
    page.facts(
        {
            "kind": artefact.kind,
            "folder": str(artefact.path),
            "size": f"{bytes_text(sum(output.bytes for output in outputs))} in {_files(len(outputs))}",
            "digest (what it is)": artefact.digest,
            "key (what was asked for)": artefact.key,
        }
    )


def _report_links(page: Page, artefact: Artefact) -> None:
    found = [output.path for output in artefact.manifest.outputs if output.path.endswith(".html")]
    for path in found:
        page.text(link(f"Open the report: {path}", f"../{artefact.path.absolute().name}/{path}"))


def _resources(page: Page, resources: Mapping[str, Resource]) -> None:
    page.heading("What it cost")
    if not resources:
        page.text("Nothing was recorded.")
        return
    page.table(
        ["what", "how much", "how known", "remark"],
        [
            [_RESOURCES.get(name, name), _resource_text(name, resource.value), resource.method, resource.note or ""]
            for name, resource in resources.items()
        ],
    )


def _resource_text(name: str, value: float) -> str:
    if name.endswith("_s"):
        return duration(value)
    if name.endswith("_bytes"):
        return bytes_text(value)
    if name.endswith("_kwh"):
        return f"{value:.3g} kWh" if value >= 0.1 else f"{value * 1000:.3g} Wh"
    return prefixed_text(value, "FLOP" if name == "flops" else "")


def _provenance(page: Page, artefact: Artefact) -> None:
    manifest = artefact.manifest
    code = manifest.code
    commit = "" if code.commit is None else f", commit {code.commit[:12]}{' with changes on top' if code.dirty else ''}"
    page.heading("Code and machine", level=3)
    page.facts(
        {
            "Bedplate": f"{code.version}{commit}",
            "stage": f"{manifest.stage}, version {manifest.stage_version}",
            **{str(name): scalar(value) for name, value in manifest.environment.model_dump().items()},
        }
    )


def _outputs(page: Page, artefact: Artefact) -> None:
    outputs = artefact.manifest.outputs
    page.heading("Files")
    rows: list[list[Cell]] = [
        [output.path, bytes_text(output.bytes), escape(output.sha256[:16]), "may differ" if output.volatile else ""]
        for output in outputs[:MOST_OUTPUTS]
    ]
    inside = Page("")
    inside.table(["path", "size", "sha256 begins", "from run to run"], rows)
    if len(outputs) > MOST_OUTPUTS:
        inside.text(f"and {len(outputs) - MOST_OUTPUTS:,} more, listed in bedplate.json.")
    page.fold(_files(len(outputs)), inside)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"
