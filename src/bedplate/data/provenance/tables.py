"""What `data remove`, `data diff` and the previews found out, as lines and tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bedplate.console.figures import counted
from bedplate.data.provenance.telling import users_told


def removal_told(facts: Mapping[str, Any]) -> str:
    """What `data remove` did."""

    removed = facts["removed"]
    lines = [f"{counted(removed['documents'], 'document')} taken out: {facts['corpus']}"]
    if removed["blanked"]:
        lines.append(f"{counted(removed['blanked'], 'row')} of what was left out lost title, metadata and excerpt too")
    if removed["copies_that_stay"]:
        lines.append(
            f"{counted(removed['copies_that_stay'], 'document')} that match were left out before, as copies of "
            "documents that stay; if these are meant too, remove them by id:"
        )
        lines += [f"  id={copy['copy_of']}  (of {copy['url'] or copy['id']})" for copy in removed["copies"]]
    lines += [f"tokens without them: {path}" for path in facts["tokens"]]
    if facts["learnt"]:
        lines += [
            "",
            "made from the corpus before, as it was. What a model has learnt can't be taken out of it: train it anew.",
            *users_told(facts["learnt"]),
        ]
        holders = [user["path"] for user in facts["learnt"] if user["kind"] in ("corpus", "index", "tokens")]
        lines += [f"{path} may hold their texts: remove them there too, or make it anew" for path in holders]
    lines += [
        "",
        "What is curated from this corpus leaves them out too, by their hashes. For what else should match, and for "
        "curations that begin anew, name it in the recipe: rights.taken_down",
    ]
    return "\n".join(lines)


def difference_told(facts: Mapping[str, Any]) -> str:
    """What `data diff` found: a table by source, and the reasons."""

    rows: list[tuple[str, ...]] = [("", "source", "documents", "bytes", "tokens")]
    rows.append(("same", "", *_amounts(facts["same"])))
    for what in ("added", "removed", "changed"):
        rows += [(what, label, *_amounts(side)) for label, side in facts[what].items()]
        if what == "changed":
            rows += [("  from", label, *_amounts(side)) for label, side in facts["changed_from"].items()]
    lines = table(rows if "tokens" in facts["same"] else [row[:-1] for row in rows])
    for title, name in (("removed, because of", "removed_because"), ("added, which before was", "added_although")):
        if facts[name]:
            lines += ["", title]
            lines += [f"  {label}: {reason} {n:,}" for label, why in facts[name].items() for reason, n in why.items()]
    lines += ["", *(f"moved {way}: {n:,}" for way, n in facts["moved"].items())] if facts["moved"] else []
    return "\n".join(lines)


def _amounts(side: Mapping[str, int]) -> tuple[str, str, str]:
    tokens = side.get("tokens")
    return f"{side['documents']:,}", f"{side['bytes']:,}", "" if tokens is None else f"{tokens:,}"


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns as wide as they must be; a column of figures stands at the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = [all(cell[:1].isdigit() or not cell for cell in column[1:]) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if at_right else cell.ljust(width)
            for cell, width, at_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    ]
