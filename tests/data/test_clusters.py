"""Relatives come together, strangers stay apart, whatever their order."""

from __future__ import annotations

import random

import numpy as np
import pytest

from bedplate.data.clusters import sequence_clusters
from bedplate.errors import InputError

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def drawn(seed: int, length: int = 200) -> str:
    return "".join(random.Random(seed).choices(LETTERS, k=length))


def mutated(sequence: str, share: float, seed: int) -> str:
    choose = random.Random(seed)
    return "".join(choose.choice(LETTERS) if choose.random() < share else letter for letter in sequence)


def groups(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)}


def shares(one: str, other: str, word: int) -> float:
    """By sets of strings, which the module doesn't use."""
    a, b = ({s[i : i + word] for i in range(len(s) - word + 1)} for s in (one, other))
    return len(a & b) / min(len(a), len(b))


def test_relatives_come_together_and_strangers_stay_apart() -> None:
    ancestors = [drawn(seed) for seed in range(8)]
    sequences = [mutated(ancestor, 0.15, 10 * i + copy) for copy in range(5) for i, ancestor in enumerate(ancestors)]
    assert groups(sequence_clusters(sequences)) == {frozenset(range(i, 40, 8)) for i in range(8)}


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_clusters_are_the_components_of_linked_pairs(share: float) -> None:
    ancestors = [drawn(seed, 90) for seed in range(4)]
    sequences = [mutated(ancestors[i % 4], 0.02 * (i % 13), i) for i in range(40)]
    linked = {
        (i, j) for i in range(40) for j in range(i) if shares(sequences[i], sequences[j], 5) >= share
    }  # fmt: skip
    expected = {i: {i} for i in range(40)}
    for i, j in linked:
        joined = expected[i] | expected[j]
        for member in joined:
            expected[member] = joined
    found = sequence_clusters(sequences, word=5, share=share)
    assert groups(found) == {frozenset(members) for members in expected.values()}


def test_a_chain_is_one_cluster() -> None:
    """Single linkage: the ends share nothing, but each piece overlaps the next by half."""
    whole = drawn(0, 400)
    pieces = [whole[at : at + 100] for at in range(0, 301, 50)]
    assert shares(pieces[0], pieces[-1], 6) == 0
    assert len(groups(sequence_clusters([*pieces, drawn(1)], share=0.4))) == 2


def test_the_order_doesnt_matter() -> None:
    sequences = [mutated(drawn(i % 6, 80), 0.1, i) for i in range(30)]
    order = list(range(30))
    random.Random(3).shuffle(order)
    found = groups(sequence_clusters([sequences[i] for i in order]))
    assert {frozenset(order[i] for i in group) for group in found} == groups(sequence_clusters(sequences))


def test_short_ones_are_alone_unless_the_same() -> None:
    assert sequence_clusters(["MKV", "MK", "mkv", ""]).tolist() == [0, 1, 0, 2]
    assert sequence_clusters([]).tolist() == []


def test_one_common_word_is_no_kinship() -> None:
    one, other = drawn(1, 12), drawn(2, 12)
    assert len(groups(sequence_clusters([one + "WWWWWW", "WWWWWW" + other], share=0.01))) == 2


@pytest.mark.parametrize(("word", "share"), [(0, 0.1), (13, 0.1), (6, 0.0), (6, 1.5)])
def test_impossible_settings_are_refused(word: int, share: float) -> None:
    with pytest.raises(InputError, match="clusters"):
        sequence_clusters(["MKV"], word=word, share=share)


def test_what_isnt_letters_is_refused() -> None:
    with pytest.raises(InputError, match="letters"):
        sequence_clusters(["MKV\u00e4"])
