"""The heuristics that C4 and FineWeb have for web pages.

C4: Raffel et al. 2020, arXiv 1910.10683, section 2.2. It works line by line: a line stays that ends in a terminal mark
(. ! ? " ') and not in an ellipsis, has at least three words and none of more than 1,000 characters, and says nothing of
JavaScript, cookies, privacy or terms of use. FineWeb: Penedo et al. 2024, arXiv 2406.17557, section 3.6.

A sentence ends with a stretch of characters whose last, closing quotes and brackets aside, is a full stop, question or
exclamation mark or another script's; an initial (`J.`) ends none; where no space follows such marks (Chinese, Japanese)
each is an end. What is left at a line's end is a sentence too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from bedplate.data.signals import characters
from bedplate.data.signals.hashing import Ints
from bedplate.data.signals.repetition import lines
from bedplate.data.signals.texts import Bools, Floats, Texts, share, sums

POLICY_PHRASES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
CITATION = re.compile(r"\[(?:[0-9]*|edit|citation needed)\]")
TERMINAL_MARKS = ".?!\"'"
LEAST_WORDS = 3
LONGEST_WORD = 1000
SHORT_LINE = 30

_CLOSINGS_LOOKED_THROUGH = 3


def c4(texts: Texts, given: Sequence[str]) -> dict[str, Ints | Floats]:
    """The columns of the family `c4`: {column: [documents]}. `given` are the texts that `texts` was made of."""
    low = [text.lower() for text in given]
    javascript = _lines_saying(texts, low, ("javascript",))
    policy = _lines_saying(texts, low, POLICY_PHRASES)
    sentences = _sentences(texts)
    kept = _well_formed(texts, given) & ~javascript & ~policy
    longest = np.zeros(len(given), dtype=np.int64)
    np.maximum.at(longest, texts.stretches.documents, texts.stretches.lengths)
    bounds = texts.lines.bounds
    return {
        "sentences": sums(sentences, bounds),
        "c4_line_fraction": share(texts.lines.count(kept), texts.lines.counts),
        "c4_sentences": sums(sentences * kept, bounds),
        "longest_word": longest,
        "javascript_lines": texts.lines.count(javascript),
        "policy_lines": texts.lines.count(policy),
        "lorem_ipsum": texts.lines.count(_lines_saying(texts, low, ("lorem ipsum",))),
        "curly_brackets": texts.count(texts.codes == ord("{")),
    }


def fineweb(texts: Texts) -> dict[str, Ints | Floats]:
    """The columns of the family `fineweb`: {column: [documents]}."""
    spans = texts.lines
    ended = texts.bits[spans.ends - 1] & characters.TERMINAL != 0
    newlines = texts.count(texts.codes == ord("\n"))
    duplicate = "duplicate_line_character_fraction"
    return {
        "punctuated_line_fraction": share(spans.count(ended), spans.counts),
        "short_line_fraction": share(spans.count(spans.lengths <= SHORT_LINE), spans.counts),
        "newline_ratio": share(newlines, texts.tokens.counts),
        duplicate: lines(texts)[duplicate],
    }


def _well_formed(texts: Texts, given: Sequence[str]) -> Bools:
    """Lines that C4 keeps by their form [lines]."""
    spans, codes, stretches = texts.lines, texts.codes, texts.stretches
    first, after = texts.line_stretches
    ends = spans.ends
    # A note at a line's end is looked through: the mark before it is the line's last.
    noted = np.flatnonzero(codes[ends - 1] == ord("]"))
    bare = [_without_notes(given, texts, int(line)) for line in noted]
    last, dots = codes[ends - 1].copy(), np.ones(len(spans), dtype=np.bool_)
    for back in (1, 2, 3):
        dots &= (spans.lengths >= back) & (codes[np.maximum(ends - back, 0)] == ord("."))
    last[noted] = [ord(text[-1]) if text else 0 for text in bare]
    dots[noted] = [text.endswith("...") for text in bare]
    long = np.flatnonzero(stretches.lengths > LONGEST_WORD)
    unbroken = np.ones(len(spans), dtype=np.bool_)
    unbroken[np.searchsorted(first, long, side="right") - 1] = False
    return np.isin(last, tuple(map(ord, TERMINAL_MARKS))) & ~dots & (after - first >= LEAST_WORDS) & unbroken


def _without_notes(given: Sequence[str], texts: Texts, line: int) -> str:
    """The end of a line without the notes in it: no more is looked at than decides."""
    document = int(texts.lines.documents[line])
    begin = int(texts.documents[document])
    start, end = int(texts.lines.starts[line]) - begin, int(texts.lines.ends[line]) - begin
    return CITATION.sub("", given[document][max(start, end - 200) : end]).rstrip()


def _sentences(texts: Texts) -> Ints:
    """How many sentences each line has [lines]."""
    codes, bits, stretches = texts.codes, texts.bits, texts.stretches
    first, after = texts.line_stretches
    at = stretches.ends - 1
    for _ in range(_CLOSINGS_LOOKED_THROUGH):
        at = at - ((at > stretches.starts) & (bits[at] & characters.CLOSING != 0))
    ended = bits[at] & characters.TERMINAL != 0
    initial = (stretches.lengths == 2) & (bits[stretches.starts] & characters.UPPER != 0)
    last = np.zeros(len(stretches), dtype=np.bool_)
    last[after - 1] = True
    ended &= ~(initial & ~last)
    counts = _sum_between(ended, first, after) + ~ended[after - 1]
    wide = np.flatnonzero(texts.has(characters.WIDE))
    if len(wide):
        wide = wide[bits[wide + 1] & (characters.TERMINAL | characters.CLOSING | characters.SPACE) == 0]
        wide = wide[codes[wide + 1] > 127]  # a full-width stop between digits or letters ends nothing
        counts += np.bincount(np.searchsorted(texts.lines.starts, wide, side="right") - 1, minlength=len(counts))
    return counts


def _sum_between(values: Bools, starts: Ints, ends: Ints) -> Ints:
    total = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=total[1:])
    return total[ends] - total[starts]


def _lines_saying(texts: Texts, low: Sequence[str], phrases: Sequence[str]) -> Bools:
    """Lines in which one of the phrases stands [lines]; `low` are the texts in lower case."""
    said = [
        int(texts.first_lines[document]) + place
        for document, text in enumerate(low)
        for phrase in phrases
        for place in _places(text, phrase)
    ]
    found = np.zeros(len(texts.lines), dtype=np.bool_)
    found[np.searchsorted(texts.line_numbers, np.array(said, dtype=np.int64))] = True
    return found


def _places(text: str, phrase: str) -> Iterator[int]:
    """The numbers of the lines that the phrase stands in: told by line feeds, since lower case may have more characters
    than what it is of."""
    number, counted = 0, 0
    at = text.find(phrase)
    while at >= 0:
        number += text.count("\n", counted, at)
        yield number
        counted = text.find("\n", at)
        at = text.find(phrase, counted) if counted >= 0 else -1
