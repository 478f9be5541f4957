"""Near copies, against every pair compared by hand."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.tasks.near_copies import LONG, NEAR, RUN, canonical, groups, plain


def near(one: str, other: str) -> bool:
    """The definition, spelt out."""
    if canonical(one) == canonical(other):
        return True
    first, second = canonical(one).split(" "), canonical(other).split(" ")
    if min(len(first), len(second)) < LONG:
        return False
    a, b = ({tuple(words[i : i + RUN]) for i in range(len(words) - RUN + 1)} for words in (first, second))
    return len(a & b) >= NEAR * len(a | b)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5))
def test_groups_are_the_components_of_near_pairs(seed, edits):
    draw = random.Random(seed)
    texts = [" ".join(f"w{draw.randrange(30)}" for _ in range(draw.randrange(10, 90))) for _ in range(6)]
    for text in list(texts):  # copies with a few words changed, some of which are near and some aren't
        words = text.split()
        for _ in range(draw.randrange(edits + 1)):
            words[draw.randrange(len(words))] = f"w{draw.randrange(30)}"
        texts.append(" ".join(words))
    draw.shuffle(texts)
    component = list(range(len(texts)))
    for i, one in enumerate(texts):
        for j in range(i):
            if near(one, texts[j]):
                low, high = sorted((component[i], component[j]))
                component = [low if c == high else c for c in component]
    assert groups(texts) == component


def test_forms():
    assert plain("  ﬁrst\tLINE ") == "first line"
    assert canonical("What's “up”, DOC?") == "what s up doc"
    assert canonical("?!") == "?!"
    assert groups(["a b", "A, b!", "a c", "?!", "!?"]) == [0, 0, 2, 3, 4]
