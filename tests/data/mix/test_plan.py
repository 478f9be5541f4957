"""Mixtures: shares are what was asked for, caps hold, and nothing is lost that a source could have given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bedplate.data.mix.config import MixConfig
from bedplate.data.mix.plan import plan_mixture
from bedplate.errors import InputError

SIZES = {"code": 4_000_000, "text": 1_000_000, "law": 3_000_000}


def epochs(**config):
    return {label: portion.epochs for label, portion in plan_mixture(SIZES, MixConfig(**config)).items()}


def test_by_itself_everything_is_seen_once():
    assert epochs() == pytest.approx({"code": 1, "text": 1, "law": 1})


def test_weights_are_shares_of_the_tokens():
    plan = plan_mixture(SIZES, MixConfig(weights={"code": 1, "text": 1, "law": 2}, budget=400_000))
    assert {label: p.share for label, p in plan.items()} == pytest.approx({"code": 0.25, "text": 0.25, "law": 0.5})
    assert plan["code"].epochs == pytest.approx(0.1)
    assert plan["text"].epochs == pytest.approx(0.4)


def test_a_source_that_cannot_give_its_share_is_made_up_for():
    plan = plan_mixture(SIZES, MixConfig(weights={"code": 1, "text": 8, "law": 1}, budget=2e6, most_epochs=3))
    assert plan["text"].capped
    assert plan["text"].epochs == pytest.approx(3)
    assert plan["code"].mixed_tokens == pytest.approx(plan["law"].mixed_tokens) == pytest.approx((2e6 - 750_000) / 2)


def test_temperature_goes_from_as_it_is_to_equal():
    assert epochs(temperature=1) == pytest.approx({"code": 1, "text": 1, "law": 1})
    plan = plan_mixture(SIZES, MixConfig(temperature=1e9))
    assert [p.mixed_tokens for p in plan.values()] == pytest.approx([2e6 / 3] * 3, rel=1e-6)


def test_what_is_not_named_keeps_its_size_or_goes():
    kept = epochs(weights={"code": 1, "text": 1})
    assert kept["law"] == pytest.approx(1)
    assert kept["code"] == pytest.approx(2.5 / 4)
    assert epochs(weights={"code": 1, "text": 1}, rest="drop", most_epochs=10)["law"] == 0


def test_the_share_of_what_holds_nothing_goes_to_the_others():
    plan = plan_mixture(SIZES | {"none": 0}, MixConfig(weights={"code": 1, "none": 9}))
    assert {label: p.epochs for label, p in plan.items()} == pytest.approx({"code": 1, "text": 1, "law": 1, "none": 0})
    plan = plan_mixture(SIZES | {"none": 0}, MixConfig(weights={"code": 0, "none": 9}))
    assert {label: p.epochs for label, p in plan.items()} == pytest.approx({"code": 0, "text": 1, "law": 1, "none": 0})


def test_bytes_of_a_token_by_source():
    plan = plan_mixture(SIZES, MixConfig(weights={"code": 1, "text": 1, "law": 1}, bytes_per_token={"code": 2.0}))
    assert plan["code"].tokens == 2e6
    assert plan["text"].tokens == 250_000


def test_wrong_mixtures_are_named():
    with pytest.raises(InputError, match="'cod'"):
        plan_mixture(SIZES, MixConfig(weights={"cod": 1}))
    with pytest.raises(InputError, match="bytes_per_token for 'cod', which is no source"):
        plan_mixture(SIZES, MixConfig(bytes_per_token={"cod": 3.0}))
    with pytest.raises(InputError, match="no source with a weight"):
        plan_mixture({"a": 0, "b": 5}, MixConfig(weights={"a": 1}, rest="drop"))
    twice = {"weights": {"a": 1}, "temperature": 2}
    for wrong in (twice, {"weights": {"a": 0}}, {"weights": {"a": -1}}, {"rest": "drop"}):
        with pytest.raises(ValidationError):
            MixConfig(**wrong)


@given(
    st.dictionaries(st.sampled_from("abcde"), st.integers(1, 10**9), min_size=1),
    st.data(),
    st.floats(0.5, 8),
    st.floats(1, 1e9),
)
def test_caps_hold_and_the_budget_is_met_where_it_can_be(sizes, data, most, budget):
    weights = {label: data.draw(st.floats(0.01, 100)) for label in sizes}
    plan = plan_mixture(sizes, MixConfig(weights=weights, most_epochs=most, budget=budget))
    for portion in plan.values():
        assert portion.epochs <= most * (1 + 1e-6)
    there = sum(size / 4 * most for size in sizes.values())
    assert sum(p.mixed_tokens for p in plan.values()) == pytest.approx(min(budget, there))
    free = [(p.mixed_tokens / weights[label]) for label, p in plan.items() if not p.capped]
    assert not free or max(free) == pytest.approx(min(free))
