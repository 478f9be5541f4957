"""Gopher's heuristics of quality (Rae et al. 2021, arXiv 2112.11446, appendix A.1.1), and statistics of characters.

Ratios "for each word" and the share of alphabetic words are of words and marks together, as FineWeb and its like apply
these rules: a full stop is then a word without letters. `words` and `mean_word_length` leave the marks out.
"""

from __future__ import annotations

import numpy as np

from bedplate.data.signals import characters
from bedplate.data.signals.hashing import Ints
from bedplate.data.signals.lexicon import Lexicon
from bedplate.data.signals.texts import Floats, Texts, share, sums

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
_DOT, _ELLIPSIS = ord("."), ord("…")
_BULLETS = tuple(map(ord, "-•‣◦●▪"))


def quality(texts: Texts) -> dict[str, Ints | Floats]:
    """The columns of the family `quality`: {column: [documents]}."""
    tokens, lines, codes = texts.tokens, texts.lines, texts.codes
    words = tokens.count(texts.words)
    letters = np.concatenate(([0], np.cumsum(texts.has(characters.LETTER))))
    alphabetic = letters[tokens.ends] > letters[tokens.starts]
    ellipses = _ellipses(texts)
    ends = lines.ends
    dotted = codes[ends - 1] == _DOT
    for back in (2, 3):
        dotted &= (lines.lengths >= back) & (codes[np.maximum(ends - back, 0)] == _DOT)
    dotted |= codes[ends - 1] == _ELLIPSIS
    return {
        "words": words,
        "mean_word_length": share(sums(tokens.lengths * texts.words, tokens.bounds), words),
        "hash_ratio": share(texts.count(codes == ord("#")), tokens.counts),
        "ellipsis_ratio": share(ellipses, tokens.counts),
        "bullet_line_fraction": share(lines.count(np.isin(codes[lines.starts], _BULLETS)), lines.counts),
        "ellipsis_line_fraction": share(lines.count(dotted), lines.counts),
        "alphabetic_word_fraction": share(tokens.count(alphabetic), tokens.counts),
        "stop_words": _stop_lexicon().distinct(texts),
    }


def statistics(texts: Texts) -> dict[str, Ints | Floats]:
    """The columns of the family `characters`, `characters` itself aside: {column: [documents]}."""
    has, lengths = texts.has, texts.lengths
    letters, digits = texts.count(has(characters.LETTER)), texts.count(has(characters.DIGIT))
    spaces = texts.count(texts.spaces)
    neither = texts.count((texts.bits & (characters.WORD | characters.SPACE | characters.UNPRINTABLE)) == 0)
    return {
        "letter_fraction": share(letters, lengths),
        "digit_fraction": share(digits, lengths),
        "whitespace_fraction": share(spaces, lengths),
        "punctuation_fraction": share(neither, lengths),
        "uppercase_fraction": share(texts.count(has(characters.UPPER)), letters),
        "non_ascii_fraction": share(texts.count(texts.codes > 127), lengths),
        "unprintable_fraction": share(texts.count(has(characters.UNPRINTABLE)), lengths),
    }


def _ellipses(texts: Texts) -> Ints:
    """How many `…`, and `...` without overlap, each document has [documents]."""
    found = texts.count(texts.codes == _ELLIPSIS)
    dots = np.flatnonzero(texts.codes == _DOT)
    if len(dots) < 3:
        return found
    begins = np.flatnonzero(np.diff(dots, prepend=-2) > 1)
    runs = np.diff(begins, append=len(dots))
    return found + sums(runs // 3, np.searchsorted(dots[begins], texts.documents))


def _stop_lexicon() -> Lexicon:
    return Lexicon.of({word: (word,) for word in STOP_WORDS})
