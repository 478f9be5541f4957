"""What two curations of one input are compared by: extraction F1, agreement of rules, the documents that they keep."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.data.extract.score import agreement as article_agreement

ABOVE, BELOW = "above", "below"
RULES: dict[str, tuple[tuple[str, str, float], ...]] = {
    "dup_para_frac": (("duplicate_paragraph_fraction", ABOVE, 0.3),),
    "dup_para_char_frac": (("duplicate_paragraph_character_fraction", ABOVE, 0.2),),
    "dup_line_frac": (("duplicate_line_fraction", ABOVE, 0.3),),
    "dup_line_char_frac": (("duplicate_line_character_fraction", ABOVE, 0.2),),
    **{
        f"top_{n}_gram": ((f"top_{n}_gram_character_fraction", ABOVE, at),)
        for n, at in ((2, 0.2), (3, 0.18), (4, 0.16))
    },
    **{
        f"duplicated_{n}_n_grams": ((f"duplicate_{n}_gram_character_fraction", ABOVE, at),)
        for n, at in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
    },
    "gopher_short_doc": (("words", BELOW, 50),),
    "gopher_long_doc": (("words", ABOVE, 100_000),),
    "gopher_below_avg_threshold": (("mean_word_length", BELOW, 3),),
    "gopher_above_avg_threshold": (("mean_word_length", ABOVE, 10),),
    "gopher_too_many_hashes or gopher_too_many_ellipsis": (("hash_ratio", ABOVE, 0.1), ("ellipsis_ratio", ABOVE, 0.1)),
    "gopher_too_many_bullets": (("bullet_line_fraction", ABOVE, 0.9),),
    "gopher_too_many_end_ellipsis": (("ellipsis_line_fraction", ABOVE, 0.3),),
    "gopher_below_alpha_threshold": (("alphabetic_word_fraction", BELOW, 0.8),),
    "gopher_enough_stop_words": (("stop_words", BELOW, 2),),
    "lorem_ipsum": (("lorem_ipsum", ABOVE, 0),),
    "curly_bracket": (("curly_brackets", ABOVE, 0),),
    "too_few_sentences": (("c4_sentences", BELOW, 5),),
    "line_punct_ratio": (("punctuated_line_fraction", BELOW, 0.12),),
    "short_line_ratio": (("short_line_fraction", ABOVE, 0.67),),
    "char_dup_ratio": (("duplicate_line_character_fraction", ABOVE, 0.01),),
    "list_ratio": (("newline_ratio", ABOVE, 0.3),),
}
"""datatrove's reason -> our columns and its default threshold: the rule objects where any of them is beyond it."""
COLUMNS = sorted({column for parts in RULES.values() for column, _, _ in parts})


def objects(rule: str, row: Mapping[str, Any]) -> bool:
    """Whether the rule objects to a document with these columns. Fractions are stored in 32 bits, so bounds are too."""
    parts = [(row[column], side, float(np.float32(at))) for column, side, at in RULES[rule]]
    return any(value > at if side == ABOVE else value < at for value, side, at in parts)


def agreement(
    ours: Mapping[str, Mapping[str, Any]], theirs: Mapping[str, Mapping[str, bool | None]]
) -> dict[str, dict[str, float]]:
    """For each rule over the documents that both have: both object, only ours, only theirs, neither, and the share of
    documents on which they agree. ours: {url: columns}; theirs: {url: {rule: objects}}."""
    table: dict[str, dict[str, float]] = {}
    for rule in RULES:
        pairs: Counter[tuple[bool, bool]] = Counter()
        for url in ours.keys() & theirs.keys():
            verdict = theirs[url][rule]
            if verdict is not None and all(ours[url][column] is not None for column, _, _ in RULES[rule]):
                pairs[objects(rule, ours[url]), verdict] += 1
        total = pairs.total()
        table[rule] = {
            "both": pairs[True, True],
            "only ours": pairs[True, False],
            "only theirs": pairs[False, True],
            "neither": pairs[False, False],
            "agreement": (pairs[True, True] + pairs[False, False]) / total if total else float("nan"),
        }
    return table


def same_documents(ours: set[str], theirs: set[str], both: set[str]) -> dict[str, int]:
    """How the sets of kept documents lie to each other; `both` is all that went in."""
    return {
        "both": len(ours & theirs),
        "only ours": len(ours - theirs),
        "only theirs": len(theirs - ours),
        "neither": len(both - ours - theirs),
    }


def extraction(texts: Mapping[str, str], data: Path) -> dict[str, float]:
    """Precision, recall and F1 over the 91 articles, {article: extracted text}; a missing one counts as empty."""
    gold = json.loads((data / "article_extraction/ground-truth.json").read_text())
    score = article_agreement((truth["articleBody"], texts.get(article, "")) for article, truth in gold.items())
    return {"precision": score.precision, "recall": score.recall, "f1": score.f1, "extracted": len(texts)}


def lines(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON Lines file or of all in a folder, in their order."""
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    return [json.loads(line) for file in files for line in file.open()]
