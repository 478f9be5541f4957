"""Near copies, against every pair compared by hand."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.tasks.near_copies import LONG, NEAR, RUN, candidates, canonical, groups, plain, runs_of


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


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 60), st.integers(0, 30))
def test_texts_with_a_shared_beginning_are_grouped_as_by_hand(seed, shared, own):
    """From hardly alike to nearly the same, with other lengths among them, where prefixes are cut the closest."""
    draw = random.Random(seed)
    common = [f"c{i}" for i in range(shared)]
    texts = [
        " ".join(common[: len(common) - draw.randrange(3)] + [f"o{draw.randrange(4)}" for _ in range(own)])
        for _ in range(8)
    ]
    component = list(range(len(texts)))
    for i, one in enumerate(texts):
        for j in range(i):
            if near(one, texts[j]):
                low, high = sorted((component[i], component[j]))
                component = [low if c == high else c for c in component]
    assert groups(texts) == component


@settings(max_examples=60, deadline=None)
@given(st.lists(st.frozensets(st.integers(0, 40), min_size=1), max_size=12))
def test_candidates_are_each_once_and_lack_no_near_pair(sets):
    runs = {index: frozenset(bytes([item]) for item in one) for index, one in enumerate(sets)}
    found = [tuple(sorted(pair)) for pair in candidates(runs)]
    assert len(found) == len(set(found))
    wanted = {(j, i) for i in runs for j in range(i) if len(runs[i] & runs[j]) >= NEAR * len(runs[i] | runs[j])}
    assert wanted <= set(found)


@pytest.mark.parametrize(("shared", "own"), [(22, 12), (60, 8), (200, 25)])
def test_a_form_letters_words_bring_no_pairs_together(shared, own):
    letter = " ".join(f"c{i}" for i in range(shared))
    texts = [f"{letter} {' '.join(f'o{row}x{i}' for i in range(own))}" for row in range(400)]
    texts += [text.replace("c3 ", "c3 c3 ") for text in texts[:5]]  # near copies, which are looked at
    runs = {index: runs_of(canonical(text)) for index, text in enumerate(texts)}
    pairs = list(candidates(runs))
    assert len(pairs) <= len(texts)
    assert {(0, 400), (4, 404)} <= {tuple(sorted(pair)) for pair in pairs}


def test_forms():
    assert plain("  ﬁrst\tLINE ") == "first line"
    assert canonical("What's “up”, DOC?") == "what s up doc"
    assert canonical("?!") == "?!"
    assert groups(["a b", "A, b!", "a c", "?!", "!?"]) == [0, 0, 2, 3, 4]
