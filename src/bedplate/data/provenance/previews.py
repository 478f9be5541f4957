"""`data preview`: what thresholds would drop of a corpus, and the beginnings of what they would."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bedplate.data.corpus import DROPPED
from bedplate.data.curation.rows import EXCERPT
from bedplate.data.filters.config import FiltersConfig, Rule
from bedplate.data.provenance.finding import damaged, rows_of, tables
from bedplate.data.provenance.origin import curation_of
from bedplate.errors import InputError
from bedplate.ledger import Artefact

if TYPE_CHECKING:
    import pyarrow as pa

    from bedplate.data.filters.previewing import Preview

_RULE = re.compile(r"\s*([A-Za-z_]\w*)\s*(>=|<=)\s*([-+0-9.eE]+)\s*")
_FILTERED = "filters"


@dataclass(frozen=True)
class Sample:
    """A document that a rule would drop."""

    id: str
    source: str
    kept: bool
    """Whether the corpus has it now."""
    excerpt: str


def rules_said(rules: Sequence[str]) -> FiltersConfig:
    """The thresholds out of `words>=50` and its like: what a document must be. Raises InputError."""
    bounds: dict[str, dict[str, float]] = {}
    for said in rules:
        found = _RULE.fullmatch(said)
        try:
            column, sign, number = found.groups() if found else ("", "", "")
            bound = {"min" if sign == ">=" else "max": float(number)}
        except ValueError:
            raise InputError(
                f"--rules {said}: no threshold", "Write --rules 'words>=50' or 'hash_ratio<=0.1'."
            ) from None
        bounds[column] = bounds.get(column, {}) | bound
    try:
        return FiltersConfig(rules=tuple(Rule(column=column, **bound) for column, bound in bounds.items()))
    except ValueError as error:
        raise InputError(f"--rules: {error}", "Let each column's least be no more than its most.") from error


def own_rules(corpus: Artefact) -> FiltersConfig:
    """The thresholds that the corpus was made with. Raises InputError where it has none."""
    section = curation_of(corpus).get(_FILTERED)
    if not section:
        raise InputError(
            f"{corpus.path}: was made without filters",
            "Say thresholds: --rules 'words>=50', or --recipe RECIPE with a curate stage that has some.",
        )
    return FiltersConfig.model_validate(section)


def preview_corpus(corpus: Artefact, config: FiltersConfig, samples: int) -> tuple[Preview, dict[str, Sample]]:
    """What each rule would drop of all documents that the corpus's own filters were put to, kept or not, and samples by
    id. Where it had no filters: of all that it kept, and what later stages left out.

    Raises UserError for a rule on a column that the corpus lacks.
    """
    from bedplate.data.filters.previewing import preview

    found = preview(_batches(corpus, config), config, samples=samples)
    wanted = {name for rule in found.rules for name in rule.samples}
    return found, _samples(corpus, wanted)


def _batches(corpus: Artefact, config: FiltersConfig) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from bedplate.data.filters.rules import required_columns

    columns = ["id", *required_columns(config)]
    reached = _later_stages(corpus)
    for path in tables(corpus):
        try:
            with pq.ParquetFile(path) as file:
                names = [name for name in columns if name in file.schema_arrow.names]
                extra = ["stage"] if path.name == f"{DROPPED}.parquet" else []
                for batch in file.iter_batches(columns=[*names, *extra]):
                    if extra:
                        batch = batch.filter(pc.is_in(batch.column("stage"), value_set=pa.array(reached, pa.string())))
                    yield batch.select(names)
        except (pa.ArrowException, OSError) as error:
            raise damaged(path, error) from error


def _later_stages(corpus: Artefact) -> list[str]:
    """The filters and the stages after them, whose documents had reached the filters; the joint ones where there were
    no filters. Never what somebody asked to have taken out."""
    stages = list(corpus.measures.get("stages", {}))
    joint = list(corpus.measures.get("joint", {}))
    later = stages[stages.index(_FILTERED) :] if _FILTERED in stages else [name for name in stages if name in joint]
    return [name for name in later if name != "remove"]


def _samples(corpus: Artefact, wanted: set[str]) -> dict[str, Sample]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found: dict[str, Sample] = {}
    for path in tables(corpus):
        kept = path.name != f"{DROPPED}.parquet"
        text = "text" if kept else "excerpt"
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, columns=["id"]).column("id")
                hits = pc.indices_nonzero(pc.is_in(ids, value_set=pa.array(sorted(wanted), pa.string())))
                if not len(hits):
                    continue
                rows: list[dict[str, Any]] = (
                    file.read_row_group(group, columns=["id", "source", text]).take(hits).to_pylist()
                )
                for row in rows:
                    found.setdefault(row["id"], Sample(row["id"], row["source"], kept, (row[text] or "")[:EXCERPT]))
    return found


def sizes_by_label(corpus: Artefact, split: str = "train") -> dict[str, int]:
    """Bytes of a split's text by the label of the source: what a mixture is made of."""
    sizes = dict.fromkeys(corpus.measures.get("sources", {}), 0)
    for path in tables(corpus):
        if path.name != f"{DROPPED}.parquet":
            for row in rows_of(path, ("label", "split", "bytes")):
                if row["split"] == split:
                    sizes[row["label"] or ""] = sizes.get(row["label"] or "", 0) + row["bytes"]
    return sizes
