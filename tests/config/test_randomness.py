"""`fold_in`: named, independent, stable seeds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bedplate.config import fold_in

names = st.lists(st.one_of(st.text(), st.integers()), max_size=4)


def test_values_never_change():
    """Anything made with these seeds must come out alike in every later version."""
    assert fold_in(0) == 7520536977032167579
    assert fold_in(1, "epoch", 3) == 3815844900027807197


@given(st.integers(), names)
def test_is_a_seed_that_numpy_and_torch_take(seed, path):
    assert 0 <= fold_in(seed, *path) < 2**63
    assert fold_in(seed, *path) == fold_in(seed, *path)


@given(st.integers(), names, st.integers(), names)
def test_differs_wherever_the_path_differs(seed, path, other_seed, other_path):
    same = (seed, path) == (other_seed, other_path)
    assert (fold_in(seed, *path) == fold_in(other_seed, *other_path)) == same
