"""Every column of signals: its type, what it says, and the family that it is measured with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

Family = Literal["characters", "quality", "repetition", "c4", "fineweb", "mentions"]
FAMILIES: tuple[Family, ...] = get_args(Family)

TOP_NGRAMS = (2, 3, 4)
DUPLICATE_NGRAMS = (5, 6, 7, 8, 9, 10)
GROUPS = ("gender", "age", "religion", "ethnicity", "nationality", "disability", "orientation")

_REPETITION = {
    "lines": ("int32", "lines that aren't blank"),
    "paragraphs": ("int32", "runs of lines between blank ones"),
    "duplicate_line_fraction": ("float32", "share of lines that an earlier line equals"),
    "duplicate_line_character_fraction": ("float32", "their share of the characters that aren't line breaks"),
    "duplicate_paragraph_fraction": ("float32", "share of paragraphs that an earlier paragraph equals"),
    "duplicate_paragraph_character_fraction": ("float32", "their share of the characters that aren't line breaks"),
    **{
        f"top_{n}_gram_character_fraction": ("float32", f"share of characters in the most common repeated {n}-gram")
        for n in TOP_NGRAMS
    },
    **{
        f"duplicate_{n}_gram_character_fraction": ("float32", f"share of characters in {n}-grams that came before")
        for n in DUPLICATE_NGRAMS
    },
}

FAMILY_COLUMNS: dict[Family, dict[str, tuple[str, str]]] = {
    "characters": {
        "characters": ("int32", "characters of the whole text"),
        "letter_fraction": ("float32", "share of characters that are letters"),
        "digit_fraction": ("float32", "share that are digits"),
        "whitespace_fraction": ("float32", "share that are white space"),
        "punctuation_fraction": ("float32", "share that are none of these: punctuation, symbols"),
        "uppercase_fraction": ("float32", "share of letters that are capitals"),
        "non_ascii_fraction": ("float32", "share beyond ASCII"),
        "unprintable_fraction": ("float32", "share that are control, private, unassigned or replacement characters"),
    },
    "quality": {
        "words": ("int32", "words, punctuation marks not counted"),
        "mean_word_length": ("float32", "characters a word"),
        "hash_ratio": ("float32", "number signs for each word or mark"),
        "ellipsis_ratio": ("float32", "ellipses for each word or mark"),
        "bullet_line_fraction": ("float32", "share of lines that begin with a bullet or a hyphen"),
        "ellipsis_line_fraction": ("float32", "share of lines that end in an ellipsis"),
        "alphabetic_word_fraction": ("float32", "share of words and marks that hold a letter"),
        "stop_words": ("int32", "how many different of: the, be, to, of, and, that, have, with"),
    },
    "repetition": _REPETITION,
    "c4": {
        "sentences": ("int32", "sentences"),
        "c4_line_fraction": ("float32", "share of lines that the rules of C4 keep"),
        "c4_sentences": ("int32", "sentences in the lines that the rules of C4 keep"),
        "longest_word": ("int32", "characters of the longest stretch without white space"),
        "javascript_lines": ("int32", "lines that say JavaScript"),
        "policy_lines": ("int32", "lines about cookies, privacy or terms of use"),
        "lorem_ipsum": ("int32", "lines with lorem ipsum"),
        "curly_brackets": ("int32", "opening curly brackets"),
    },
    "fineweb": {
        "punctuated_line_fraction": ("float32", "share of lines that end in a full stop, question or exclamation mark"),
        "short_line_fraction": ("float32", "share of lines of up to 30 characters"),
        "newline_ratio": ("float32", "line breaks for each word or mark"),
        "duplicate_line_character_fraction": _REPETITION["duplicate_line_character_fraction"],
    },
    "mentions": {f"mentions_{group}": ("int32", f"words that name a group by {group}") for group in GROUPS},
}

LANGUAGE_COLUMNS: dict[str, tuple[str, str]] = {
    "language_detected": ("string", "ISO 639 code; und where nothing can be told"),
    "language_score": ("float32", "how sure that is, 0 to 1"),
}
PERPLEXITY_COLUMNS: dict[str, tuple[str, str]] = {
    "perplexity_bits_per_byte": ("float32", "bits a byte of the beginning under a language model; null for no text"),
}

ALL_COLUMNS: dict[str, str] = {
    name: alias
    for table in (*FAMILY_COLUMNS.values(), LANGUAGE_COLUMNS, PERPLEXITY_COLUMNS)
    for name, (alias, _) in table.items()
}
"""{column: pyarrow alias} of every signal that there is."""


def families_of(columns: Iterable[str]) -> tuple[Family, ...]:
    """Families that measure these columns, in their order, none without need; columns of no family are passed over."""
    owners = {name: [family for family in FAMILIES if name in FAMILY_COLUMNS[family]] for name in columns}
    chosen = {families[0] for families in owners.values() if len(families) == 1}
    chosen |= {families[0] for families in owners.values() if families and not chosen.intersection(families)}
    return tuple(family for family in FAMILIES if family in chosen)
