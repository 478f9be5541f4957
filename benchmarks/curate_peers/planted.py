"""What a curation did with what `curate_input.py` planted: copies, passages, items, personal data, poor texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from curate_input import POOR, Texts, url

LOST_WORDS = 40
"""A kept document that has lost so many words has had a passage cut out; masks and repairs change far fewer."""

Row = Mapping[str, Any]


def copies_found(kept: set[str], gone: set[str], truth: Iterable[Row]) -> dict[str, Any]:
    """Of the planted copies, how many are gone, by kind; of `gone`, what was left out as a copy, how much was one.

    A copy counts as found where it and its original aren't both kept. `expected` is what 14 bands of 8 find of copies
    with these similarities: the mean of 1 - (1 - J**8)**14.
    """
    found: dict[str, list[tuple[bool, float]]] = {}
    planted: set[str] = set()
    for row in truth:
        if row["role"] in ("exact", "near"):
            pair = {row["url"], url(row["of"])}
            planted |= pair
            kind = "exact" if row["role"] == "exact" else f"near, {row['edited']:.0%} of words edited"
            chance = 1 - (1 - row.get("jaccard", 1.0) ** 8) ** 14
            found.setdefault(kind, []).append((not pair <= kept, chance))
    kinds = {
        kind: {
            "planted": len(rows),
            "recall": sum(hit for hit, _ in rows) / len(rows),
            "expected": sum(chance for _, chance in rows) / len(rows),
        }
        for kind, rows in sorted(found.items())
    }
    return {"kinds": kinds, "gone": len(gone), "precision": len(gone & planted) / max(1, len(gone))}


def contents_found(kept: Iterable[Row], texts: Texts, truth: Mapping[str, Row]) -> dict[str, Any]:
    """What is left of passages, items and personal data in the kept documents, {url, text, c4_lines_removed}.

    Recall of passages is over the occurrences behind the first kept one; precision over the kept documents that have
    lost LOST_WORDS words: how many of them had a passage planted, or were copies that are still there. Documents out of
    which C4's rules took lines aren't judged.
    """
    items = {item["id"]: item["text"] for item in texts.items}
    occurrences: Counter[int] = Counter()
    left: Counter[int] = Counter()
    values = shown = shortened = rightly = item_left = 0
    for row in kept:
        fact = truth.get(row["url"], {})
        role = fact.get("role")
        before, _ = texts.document(int(row["url"].rpartition("/")[2]))
        if not row.get("c4_lines_removed") and len(before.split()) - len(row["text"].split()) >= LOST_WORDS:
            shortened += 1
            rightly += role in ("passage", "near", "exact")
        if role == "passage":
            passage = texts.passage(fact["passage"]).split()
            third = len(passage) // 3
            occurrences[fact["passage"]] += 1
            left[fact["passage"]] += " ".join(passage[third : 2 * third]) in row["text"]
        elif role == "personal":
            values += len(fact["values"])
            shown += sum(value in row["text"] for value in fact["values"])
        elif role == "item":
            item_left += items[fact["item"]] in row["text"]
    repeats = occurrences.total() - len(occurrences)
    return {
        "passages": {
            "repeats": repeats,
            "recall": 1 - sum(max(0, n - 1) for n in left.values()) / max(1, repeats),
            "lost_entirely": sum(left[passage] == 0 for passage in occurrences),
            "precision": rightly / max(1, shortened),
            "shortened": shortened,
        },
        "personal": {"values": values, "recall": 1 - shown / max(1, values)},
        "items_left": item_left,
    }


def roles_left_out(dropped: Iterable[Row], truth: Mapping[str, Row]) -> dict[str, dict[str, int]]:
    """{stage that left documents out: {role of the document: how many}}."""
    table: dict[str, Counter[str]] = {}
    for row in dropped:
        table.setdefault(row["stage"], Counter())[truth.get(row["url"], {}).get("role", "prose")] += 1
    return {stage: dict(sorted(roles.items())) for stage, roles in sorted(table.items())}


def items_found(left_out: Mapping[str, Mapping[str, int]], stage: str, planted: int, survived: int) -> dict[str, float]:
    """Recall over the planted documents that got as far as the stage; precision over what it left out."""
    roles = left_out.get(stage, {})
    reached = roles.get("item", 0) + survived
    return {
        "planted": planted,
        "recall": roles.get("item", 0) / max(1, reached),
        "precision": roles.get("item", 0) / max(1, sum(roles.values())),
    }


def poor_found(left_out: Mapping[str, Mapping[str, int]], truth: Iterable[Row]) -> dict[str, float]:
    """Which part of each kind of poor text is gone, whichever stage did it."""
    planted = Counter(row["role"] for row in truth if row["role"] in POOR)
    gone: Counter[str] = Counter()
    for roles in left_out.values():
        gone.update(roles)
    return {
        role: gone[role] / count for role, count in sorted(planted.items()) if role in ("short", "list", "repetitive")
    }
