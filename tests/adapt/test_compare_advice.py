"""The advice: what is taken and what is said of it, for each way that figures can lie."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.adapt.compare.advice import advise
from bedplate.adapt.compare.config import CompareConfig
from bedplate.adapt.compare.results import Behind, Crossing, Failed, Share, TaskFacts, WayResult
from bedplate.adapt.compare.wording import moment, money, percent, rounded


def way(name, score, whole, group=1, *, kind="probe", behind=None, crossing=None):
    return WayResult.model_construct(
        name=name,
        way=name,
        kind=kind,
        score=Share(value=score, low=score - 0.04, high=score + 0.04),
        group=group,
        behind=None
        if behind is None
        else Behind(
            difference=Share(value=behind, low=behind - 0.03, high=behind + 0.03), p=0.01, p_corrected=0.02 * group
        ),
        cost_1000=whole / 100,
        whole_cost=whole,
        break_even=crossing,
    )


def advice(*ways, failed=(), test=400, tellable=None, margin=0.02, requests=100_000):
    config = CompareConfig.model_validate(
        {"ways": ["majority", "tfidf"], "margin": margin, "requests": requests, "prices": {"currency": "EUR"}}
    )
    task = TaskFacts.model_construct(kind="classification", test=test)
    return advise(ways, failed, task, config, tellable)


def test_a_clear_winner():
    found = advice(way("lora", 0.9, 5), way("tfidf", 0.8, 0.1, 2, kind="baseline", behind=0.1))
    assert (found.way, found.best, found.tied, found.foundation_model) == ("lora", "lora", ("lora",), "worth it")
    said = " ".join(found.reasons)
    assert said.startswith("Take lora: it tells the class of 90.0% of 400 test examples (86.0% to 94.0%")
    assert "No other way is as good: the next, tfidf, is 10.0 points behind (7.0 to 13.0 points)" in said
    assert "A foundation model is worth having here" in said


def test_the_cheaper_of_two_that_are_tied_and_close():
    found = advice(way("lora", 0.81, 50), way("tfidf", 0.80, 0.1, kind="baseline", behind=0.01))
    assert (found.way, found.best, found.foundation_model) == ("tfidf", "lora", "not worth it")
    said = " ".join(found.reasons)
    assert "lora scores 81.0%, but the difference of 1.0 points" in said
    assert "cost 0.10 EUR against 50.00 EUR" in said
    assert "isn't worth its cost" in said


def test_tied_for_want_of_examples_isnt_good_enough():
    found = advice(way("lora", 0.81, 50), way("tfidf", 0.72, 0.1, kind="baseline", behind=0.09), test=60, tellable=0.1)
    assert (found.way, found.foundation_model) == ("lora", "undecided")
    said = " ".join(found.reasons)
    assert "isn't shown to be needed: tfidf, without one, is 9.0 points behind" in said
    assert "The test set is small (60 examples): differences below about 10.0 points can't be told" in said
    assert advice(*[way("lora", 0.81, 50), way("tfidf", 0.72, 0.1, kind="baseline", behind=0.09)], margin=0.1).way == (
        "tfidf"
    )


def test_nothing_beats_the_commonest_class():
    found = advice(way("lora", 0.31, 5), way("majority", 0.30, 0, kind="baseline", behind=0.01))
    assert found.reasons[0].startswith("Take none of them yet")
    assert len(found.reasons) == 1


@pytest.mark.parametrize(
    ("cheaper", "requests", "words"),
    [
        ("from", 20_000, "For fewer than about 20,000"),
        ("until", 200_000, "For more than about 200,000"),
        ("never", 0, ""),
    ],
)
def test_the_volume_at_which_it_would_be_another(cheaper, requests, words):
    crossing = Crossing(against="zero-shot", cheaper=cheaper, requests=requests or None)
    found = advice(way("lora", 0.8, 1, crossing=crossing), way("zero-shot", 0.795, 9, behind=0.005))
    assert (words or "requests zero-shot") in " ".join(found.reasons) or not words
    assert any("zero-shot, as good, costs less" in reason for reason in found.reasons) == bool(words)


def test_what_failed_is_said():
    broken = Failed(name="full", way="full", seed=0, problem="out of memory", fix=None, trace=None)
    found = advice(way("lora", 0.9, 5), way("probe", 0.7, 1, 2, behind=0.2), failed=[broken])
    assert "full failed and isn't judged." in found.reasons
    assert found.foundation_model is None


def test_a_baseline_scores_highest_and_a_foundation_model_costs_less():
    found = advice(way("tfidf", 0.80, 50, kind="baseline"), way("zero-shot", 0.79, 1, kind="prompt", behind=0.01))
    assert (found.way, found.best, found.foundation_model) == ("zero-shot", "tfidf", "undecided")
    said = " ".join(found.reasons)
    assert "isn't shown to be needed: tfidf, without one, scores highest, at 0.50 EUR" in said


def test_nothing_works():
    found = advice(way("retrieval", 0.0, 5), way("lora", 0.0, 9, behind=0.0))
    (reason,) = found.reasons
    assert reason.startswith("Take none of them: none works.")
    assert "less than 4.0%" in reason


def test_a_cost_that_isnt_known_is_never_the_least():
    unknown = way("zero-shot", 0.8, 0.0, kind="prompt").model_copy(update={"cost_known": False})
    found = advice(unknown, way("lora", 0.79, 5, behind=0.01))
    assert found.way == "lora"
    said = " ".join(found.reasons)
    assert "against an unknown amount" in said
    assert "What zero-shot costs isn't known" in said
    assert " 0 EUR" not in said


@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 1.0),
            st.one_of(st.just(0.0), st.floats(0.001, 100)),
            st.booleans(),
            st.sampled_from(["probe", "baseline"]),
        ),
        min_size=2,
        max_size=8,
    )
)
def test_the_advised_way_is_tied_close_and_no_dearer(values):
    values = sorted(values, key=lambda value: -value[0])
    best = values[0][0]
    ways = [
        way(f"w{n}", score, cost, 1 if near or n == 0 else 2, kind=kind, behind=None if n == 0 else best - score)
        for n, (score, cost, near, kind) in enumerate(values)
    ]
    found = advice(*ways)
    taken = next(w for w in ways if w.name == found.way)
    assert taken.group == 1
    assert best - taken.score.value <= 0.02
    rivals = [w for w in ways if w.group == 1 and best - w.score.value <= 0.02]
    assert taken.whole_cost == min(w.whole_cost for w in rivals)


def test_wording():
    assert [money(v, "EUR") for v in (0, 12.3, 0.042, 3.14e-7, 1e-12)] == [
        "0 EUR", "12.30 EUR", "0.042 EUR", "0.00000031 EUR", "1.0e-12 EUR",
    ]  # fmt: skip
    assert [moment(v) for v in (12e-6, 0.0013, 0.24, 2.1)] == ["12 µs", "1.3 ms", "240 ms", "2.1 s"]
    assert percent(0.8312) == "83.1%"
    assert [rounded(n) for n in (7, 1234, 99_999)] == ["7", "1,200", "100,000"]
