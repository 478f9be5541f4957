"""datatrove's rules one by one: each is a filter with all its other rules switched off.

A filter stops at the first rule that objects, so the filters as they are give one reason a document at most. Here each
rule is asked of each document, which is what agreement with other software can be counted over. Names are datatrove's
reasons. Line rules of C4 (too few words, JavaScript, policies) drop lines, not documents: they show in
`too_few_sentences` and in the text that C4 leaves.
"""

from __future__ import annotations

from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.filters.base_filter import BaseFilter

NEVER = 1e9
REPETITION = {
    "dup_para_frac": ("dup_para_frac", 0.3),
    "dup_para_char_frac": ("dup_para_char_frac", 0.2),
    "dup_line_frac": ("dup_line_frac", 0.3),
    "dup_line_char_frac": ("dup_line_char_frac", 0.2),
}
TOP = {2: 0.2, 3: 0.18, 4: 0.16}
DUPLICATED = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
GOPHER = {
    "gopher_short_doc": ("min_doc_words", 50),
    "gopher_long_doc": ("max_doc_words", 100_000),
    "gopher_below_avg_threshold": ("min_avg_word_length", 3),
    "gopher_above_avg_threshold": ("max_avg_word_length", 10),
    "gopher_too_many_bullets": ("max_bullet_lines_ratio", 0.9),
    "gopher_too_many_end_ellipsis": ("max_ellipsis_lines_ratio", 0.3),
    "gopher_below_alpha_threshold": ("max_non_alpha_words_ratio", 0.8),
    "gopher_enough_stop_words": ("min_stop_words", 2),
}
FINEWEB = {
    "line_punct_ratio": ("line_punct_thr", 0.12),
    "short_line_ratio": ("short_line_thr", 0.67),
    "char_dup_ratio": ("char_duplicates_ratio", 0.01),
    "list_ratio": ("new_line_ratio", 0.3),
}
C4_OFF = {
    "remove_citations": False,
    "filter_no_terminal_punct": False,
    "min_num_sentences": -1,
    "min_words_per_line": -1,
    "max_word_length": -1,
    "filter_lorem_ipsum": False,
    "filter_javascript": False,
    "filter_curly_bracket": False,
    "filter_policy": False,
}


def repetition(**on: object) -> GopherRepetitionFilter:
    off = {name: None for name, _ in REPETITION.values()}
    return GopherRepetitionFilter(**(off | {"top_n_grams": (), "dup_n_grams": ()} | on))


def gopher(**on: object) -> GopherQualityFilter:
    off = {name: None for name, _ in GOPHER.values()} | {"max_symbol_word_ratio": None}
    return GopherQualityFilter(**(off | on))


def fineweb(**on: float) -> FineWebQualityFilter:
    off = {"line_punct_thr": -1.0, "short_line_thr": NEVER, "char_duplicates_ratio": NEVER, "new_line_ratio": NEVER}
    return FineWebQualityFilter(**(off | on))


def filters() -> list[BaseFilter]:
    """All four as FineWeb's pipeline has them, at their defaults."""
    return [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(), FineWebQualityFilter()]


def rules() -> dict[str, BaseFilter]:
    """{reason: the filter that gives this reason alone}. Hashes and ellipses share a setting and so a filter."""
    found: dict[str, BaseFilter] = {reason: repetition(**{name: at}) for reason, (name, at) in REPETITION.items()}
    found |= {f"top_{n}_gram": repetition(top_n_grams=((n, at),)) for n, at in TOP.items()}
    found |= {f"duplicated_{n}_n_grams": repetition(dup_n_grams=((n, at),)) for n, at in DUPLICATED.items()}
    found |= {reason: gopher(**{name: at}) for reason, (name, at) in GOPHER.items()}
    found["gopher_too_many_hashes or gopher_too_many_ellipsis"] = gopher(max_symbol_word_ratio=0.1)
    found["lorem_ipsum"] = C4QualityFilter(**(C4_OFF | {"filter_lorem_ipsum": True}))
    found["curly_bracket"] = C4QualityFilter(**(C4_OFF | {"filter_curly_bracket": True}))
    # Sentences are counted over the lines that the line rules leave, so these stay on.
    found["too_few_sentences"] = C4QualityFilter(filter_lorem_ipsum=False, filter_curly_bracket=False)
    found |= {reason: fineweb(**{name: at}) for reason, (name, at) in FINEWEB.items()}
    return found
