"""Our side of the curation benchmarks: recipes for `bedplate curate`, and what is read out of the corpus that it makes.

All that depends on how Bedplate's `curate` is set and what it reports stands here; the benchmarks know the rest alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from bedplate.ledger import open_artefact

STAGE = "corpus"
RULES = {"gopher_quality": True, "gopher_repetition": True, "c4": True, "fineweb": True, "c4_lines": True}
"""With their papers' thresholds, which datatrove has too; lines that C4 takes out are taken out."""
COPIES = ("exact", "minhash")
"""Our stages that leave out copies."""
ITEMS = "decontaminate"
"""Our stage that leaves out what holds items of evaluations."""
STAGES = {"extract": ("read", "extract"), "filters": ("signals", "filters"), "minhash": ("minhash",)}
"""Our stages whose CPU time stands beside one of datatrove's stages: what both do with the same input."""

Recipe = dict[str, Any]


def texts(folder: Path) -> Recipe:
    """A source: JSON Lines of {url, text}."""
    return {"jsonl": str(folder.resolve()), "url_field": "url", "license": "unknown"}


def pages(folder: Path) -> Recipe:
    """A source: WARC files."""
    return {"warc": str(folder.resolve()), "license": "unknown"}


def extract(source: Path, extractor: str) -> Recipe:
    """Pages to plain text, as the peer's; what a page says of itself and the repair of encodings come on top."""
    return {"sources": [pages(source)], "extract": {"extractor": extractor, "format": "text"}, "deduplicate": {}}


def filters(source: Path) -> Recipe:
    """The rules of Gopher, C4 and FineWeb; no language, as the peer's."""
    families = ["quality", "repetition", "c4", "fineweb"]
    return {
        "sources": [texts(source)],
        "signals": {"families": families, "language": None},
        "filters": RULES,
        "deduplicate": {},
    }


def minhash(source: Path) -> Recipe:
    """14 bands of 8 over word 5-grams; every pair that shares a band is linked, as the peer does."""
    return {"sources": [texts(source)], "deduplicate": {"minhash": {"bands": 14, "rows": 8, "verify": False}}}


def everything(source: Path, items: Path) -> Recipe:
    """Every stage that needs no model of the user's: no classifier, no perplexity, no embeddings."""
    return {
        "sources": [texts(source)],
        "extract": {},
        "rights": {},
        "privacy": {},
        "signals": {},
        "filters": RULES,
        "deduplicate": {
            "exact": {"normalise": True},
            "minhash": {"bands": 14, "rows": 8},
            "substring": {"words": 50, "action": "remove"},
        },
        "decontaminate": {"files": [{"path": str(items.resolve()), "fields": ["text"], "id_field": "id"}]},
        "clusters": {},
        "mix": {"curriculum": {"by": "words"}},
    }


def written(recipe: Recipe, work: Path, workers: int) -> Path:
    """The recipe's file, whose corpus will be work/corpus."""
    work.mkdir(parents=True, exist_ok=True)
    stage = {"do": "curate", "out": str(work / "corpus"), "workers": workers, "on_error": "skip"} | recipe
    path = work / "recipe.yaml"
    path.write_text(yaml.safe_dump({"name": "curate-benchmark", "stages": {STAGE: stage}}, sort_keys=False))
    return path


def measures(corpus: Path) -> dict[str, Any]:
    """The manifest's measures."""
    return dict(open_artefact(corpus, "corpus").measures)


def stage_cpu(found: dict[str, Any], stage: str) -> dict[str, float]:
    """CPU seconds of our stages that do what the peer's `stage` does."""
    return {name: float(found["stages"][name]["cpu_s"]) for name in STAGES[stage]}


def working(work: Path) -> str:
    """The step that the curation under way in `work` is at: the one that touched its folder last."""
    steps = {path.name: path.stat().st_mtime_ns for path in work.glob("corpus.partial-*/work/*") if path.is_dir()}
    return max(steps, key=lambda name: steps[name]) if steps else "start"


def kept(corpus: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    """Rows of the documents that were kept."""
    for part in sorted(corpus.glob("part-*.parquet")):
        for batch in pq.ParquetFile(part).iter_batches(256, columns=columns):
            yield from batch.to_pylist()


def dropped(corpus: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    """Rows of the documents that were left out; they have no text."""
    for batch in pq.ParquetFile(corpus / "dropped.parquet").iter_batches(1024, columns=columns):
        yield from batch.to_pylist()
