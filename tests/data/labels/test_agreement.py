"""The figures of agreement against published examples, and against each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.data.labels.agreement import (
    agreement,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    observed_agreement,
)
from bedplate.errors import InputError

# Fleiss' kappa: fourteen raters, ten subjects, five categories; kappa 0.210 (the example in Wikipedia's article).
FLEISS = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip
# Krippendorff 2011, section C: four observers, twelve units, missing ones as dots; nominal alpha 0.743.
KRIPPENDORFF = ["12332141 2...", "12332241 25.3", ".3332342 251.", "12332441 251."]
# The same, section B: two observers, nominal alpha 0.692.
TWO = ("aabbdcccedda", "babbbccceddd")


def test_krippendorffs_own_examples():
    rows = [row.replace(" ", "") for row in KRIPPENDORFF]
    units = [[value for value in unit if value != "."] for unit in zip(*rows, strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha([list(unit) for unit in zip(*TWO, strict=True)]) == pytest.approx(0.692, abs=5e-4)


def test_fleiss_by_an_example():
    assert fleiss_kappa(FLEISS) == pytest.approx(0.210, abs=5e-4)
    with pytest.raises(InputError, match="different numbers"):
        fleiss_kappa([[2, 0], [1, 0]])


def test_cohen_by_hand():
    """Fifty proposals: both yes 20, both no 15, first yes alone 5, second alone 10. Observed 0.7, by chance 0.5."""
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert cohen_kappa(pairs) == pytest.approx(0.4)


LABELS = st.sampled_from("abc")


@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=40))
def test_alpha_and_kappa_of_two_by_their_definitions(pairs):
    """Fleiss' chance takes both annotators' labels together; alpha is that without replacement."""
    table = [[pair.count(label) for label in "abc"] for pair in pairs]
    kappa, alpha, n = fleiss_kappa(table), krippendorff_alpha(pairs), 2 * len(pairs)
    if kappa is None:
        assert alpha is None
    else:
        assert 1 - alpha == pytest.approx((1 - kappa) * (n - 1) / n)
    assert observed_agreement(pairs) == pytest.approx(np.mean([one == other for one, other in pairs]))
    perfect = cohen_kappa([(one, one) for one, _ in pairs])
    assert perfect is None or perfect == pytest.approx(1)


@pytest.mark.parametrize("units", [[], [["a"], ["b"]], [["a", "a"], ["a", "a"]]])
def test_what_has_no_meaning_is_none(units):
    assert krippendorff_alpha(units) is None
    assert cohen_kappa([("a", "a")]) is None


def test_the_whole_of_it():
    ratings = {"1": {"ann": "x", "bob": "x"}, "2": {"ann": "x", "bob": "y"}, "3": {"cyd": "y"}}
    ratings["4"] = {"bob": "x", "ann": "x"}
    found = agreement(ratings)
    assert (found.documents, found.shared, found.disputed) == (4, 3, ("2",))
    assert found.observed == pytest.approx(2 / 3)
    assert [(pair.annotators, pair.documents) for pair in found.pairs] == [(("ann", "bob"), 3)]
    assert found.counts == {"ann": {"x": 3}, "bob": {"x": 2, "y": 1}, "cyd": {"y": 1}}
