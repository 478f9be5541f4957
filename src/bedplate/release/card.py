"""The model card: README.md with a YAML header that the Hugging Face hub understands, filled from facts alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from bedplate.console.figures import bytes_text
from bedplate.release.facts import DataSource, Fact, Facts
from bedplate.release.stage import ReleaseConfig

# Identifiers that the hub knows, in its spelling (SPDX in lower case); anything else is "other" with a name.
HUB_LICENSES = frozenset(
    {
        *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "zlib", "unlicense", "mpl-2.0", "afl-3.0"),
        *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "artistic-2.0", "osl-3.0"),
        *("gpl-2.0", "gpl-3.0", "lgpl-2.1", "lgpl-3.0", "agpl-3.0", "epl-2.0", "eupl-1.2", "ecl-2.0"),
    }
)

LEGEND = (
    "Every fact below says how it is known: **measured** by the stage that is named, **derived** from something "
    "measured by a stated rule, **attested** by the person who wrote the recipe, or **missing**. The digest after a "
    "stage's name is that of its artefact; `provenance.json` holds all of them."
)


def model_card(config: ReleaseConfig, title: str, facts: Facts) -> str:
    """The whole README.md."""
    kind = facts.kind
    parts = [
        f"---\n{yaml.safe_dump(_header(config, title, facts), sort_keys=False, allow_unicode=True)}---\n",
        f"# {_line(title)}\n",
        f"{_line(config.description or f'{kind.article.title()} {kind.noun} built with Bedplate.')}\n",
        f"```python\n{kind.usage}```\n",
        f"{LEGEND}\n",
    ]
    for name, section in facts.sections:
        parts.append(f"## {name}\n\n{_fact_table(section)}\n")
        if name == "Training data" and facts.sources:
            parts.append(f"{_source_table(facts.sources)}\n")
        if name == "Training" and facts.evaluation is not None:
            parts.append(_evaluation(facts.evaluation))
    parts.append(f"## Made from\n\n{_lineage_table(facts)}\n")
    return "\n".join(parts)


def _header(config: ReleaseConfig, title: str, facts: Facts) -> dict[str, Any]:
    header: dict[str, Any] = {
        "library_name": facts.kind.library, "pipeline_tag": facts.kind.pipeline, "tags": ["bedplate"],
    }  # fmt: skip
    if config.license is not None:
        known = config.license.lower() in HUB_LICENSES
        header = {"license": config.license.lower() if known else "other"} | header
        if not known:
            header["license_name"] = config.license
    if facts.evaluation is not None:
        header["model-index"] = [{"name": title, "results": _results(facts.evaluation)}]
    return header


def _results(measures: Mapping[str, Any]) -> list[dict[str, Any]]:
    own = next(iter(measures["bits_per_byte"].values()))
    metrics = [("bits_per_byte", own), ("perplexity", measures["perplexity"])]
    results = [_result("held-out documents of its own corpus", metrics)]
    for task, figures in measures.get("tasks", {}).items():
        results.append(_result(task, [("acc", figures["acc"]), ("acc_norm", figures["acc_norm"])]))
    return results


def _result(dataset: str, metrics: Iterable[tuple[str, float]]) -> dict[str, Any]:
    return {
        "task": {"type": "text-generation"},
        "dataset": {"name": dataset, "type": re.sub(r"[^a-z0-9]+", "-", dataset.lower())},
        "metrics": [{"type": name, "value": round(float(value), 4)} for name, value in metrics],
    }


def _evaluation(measures: Mapping[str, Any]) -> str:
    parts = [
        "## Evaluation\n",
        "Measured by the evaluate stage.\n",
        f"{_line(measures['verdict'])}\n",
        _table(("coder", "bits per byte"), [(k, f"{v:.3f}") for k, v in measures["bits_per_byte"].items()]) + "\n",
    ]
    low, high = measures["bits_per_byte_interval"]
    parts.append(
        f"The model's 95% interval over documents: {low:.3f} to {high:.3f}. Perplexity a token: "
        f"{measures['perplexity']:.2f} over {measures['scored_tokens']:,} tokens. {_line(measures['sample'])}\n"
    )
    parts.append(f"Rule: {_line(measures['rule'])}\n")
    if "samples" in measures:
        ours, real = measures["samples"]["model"], measures["samples"]["real_documents_cut_alike"]
        low, high = ours["parses_interval"]
        parts.append(
            f"Of {ours['texts']} generated Python samples {100 * ours['parses']:.0f}% parse (95% interval "
            f"{100 * low:.0f}% to {100 * high:.0f}%); of real documents cut alike {100 * real['parses']:.0f}% do. "
            f"{_line(measures['samples']['rule'])}\n"
        )
    if "tasks" in measures:
        rows = [
            (name, f"{t['items']:,}", t["shots"], _pair(t, "acc"), _pair(t, "acc_norm"), f"{t['chance']:.3f}")
            for name, t in measures["tasks"].items()
        ]
        parts.append(_table(("task", "items", "shots", "acc", "acc_norm", "chance"), rows) + "\n")
    return "\n".join(parts)


def _pair(figures: Mapping[str, Any], name: str) -> str:
    error = figures[f"{name}_stderr"]
    return f"{figures[name]:.3f}" + ("" if error is None else f" ± {error:.3f}")


def _fact_table(facts: Sequence[Fact]) -> str:
    return _table(("fact", "value", "how known", "from"), [(f.label, f.value, f.status, f.origin) for f in facts])


def _source_table(sources: Sequence[DataSource]) -> str:
    rows = [(s.name, s.license, f"{s.read:,}", f"{s.kept:,}", bytes_text(s.bytes)) for s in sources]
    return _table(("source", "licence (attested)", "documents read", "kept", "text kept"), rows)


def _lineage_table(facts: Facts) -> str:
    rows = [(a.name, a.kind, a.digest[:16], a.remark or a.state) for a in facts.ancestors.walk()]
    return _table(("artefact", "kind", "digest", "state"), list(dict.fromkeys(rows)))


def _table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def _cell(value: object) -> str:
    """Text that can't break out of its cell."""
    return _line(str(value)).replace("|", "\\|")


def _line(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;")
