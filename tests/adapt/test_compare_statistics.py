"""What the test set can tell, against closed forms, scipy and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.adapt.compare.config import PricesConfig
from bedplate.adapt.compare.costs import Cost, break_even, compared, cost
from bedplate.adapt.compare.job import Measurement
from bedplate.adapt.compare.scores import confusions, exact_match, macro_f1, recalls, token_f1
from bedplate.adapt.compare.statistics import Resamples, holm
from bedplate.adapt.ways import EndpointConfig
from bedplate.evaluate.statistics import wilson_interval


def drawn(share, examples, seeds=1, salt=0):
    return (np.random.default_rng(salt).random((seeds, examples)) < share).astype(float)


def test_intervals_are_those_of_a_share():
    right = drawn(0.7, 2000)
    found = Resamples({"one": right}).interval("one")
    share = right.mean()
    half = 1.96 * math.sqrt(share * (1 - share) / 2000)
    # A quantile of 10,000 resamples is itself off by about 3% of the interval's half.
    assert found.low == pytest.approx(share - half, abs=0.08 * half)
    assert found.high == pytest.approx(share + half, abs=0.08 * half)


def test_all_right_is_still_uncertain():
    found = Resamples({"one": np.ones((1, 20))}).interval("one")
    assert found.value == found.high == 1
    assert 0.8 < found.low < 0.9


def test_p_values_are_near_mcnemars():
    from scipy.stats import binomtest

    one, other = drawn(0.72, 600, salt=1), drawn(0.66, 600, salt=2)
    result = Resamples({"one": one, "other": other}).against_best(["one", "other"])
    gained, lost = int(((one == 1) & (other == 0)).sum()), int(((one == 0) & (other == 1)).sum())
    exact = binomtest(gained, gained + lost).pvalue
    assert result["other"].p == pytest.approx(exact, abs=0.02)
    assert result["other"].value == pytest.approx(one.mean() - other.mean())


def test_pairing_tells_what_intervals_dont():
    hard = np.random.default_rng(0).random((1, 300))
    better, worse = (hard < 0.70).astype(float), (hard < 0.66).astype(float)
    both = Resamples({"better": better, "worse": worse})
    assert both.interval("better").low < both.interval("worse").high
    assert both.groups() == [["better"], ["worse"]]


def test_luck_with_seeds_widens_the_interval():
    same = np.repeat(drawn(0.7, 400), 3, axis=0)
    apart = np.stack([drawn(share, 400, salt=7)[0] for share in (0.5, 0.7, 0.9)])
    narrow, wide = (Resamples({"x": rights}).interval("x") for rights in (same, apart))
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_groups():
    ways = {"a": drawn(0.80, 400, 3, 1), "b": drawn(0.79, 400, 1, 2), "c": drawn(0.40, 400, 1, 3), "d": drawn(0.1, 400)}
    found = Resamples(ways).groups()
    assert [set(group) for group in found] == [{"a", "b"}, {"c"}, {"d"}]
    assert Resamples({"x": ways["c"], "y": ways["c"]}).groups() == [["x", "y"]]
    assert Resamples(ways).groups() == found
    with pytest.raises(ValueError, match="different numbers"):
        Resamples({"a": drawn(0.5, 10), "b": drawn(0.5, 11)})


def test_holm_by_hand():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({}) == {}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcde")), min_size=1, max_size=40))
def test_macro_f1_is_scikit_learns(pairs):
    from sklearn.metrics import f1_score

    targets, answers = map(list, zip(*pairs, strict=True))
    assert macro_f1(targets, answers) == pytest.approx(f1_score(targets, answers, average="macro", zero_division=0))


def test_exact_match_and_word_f1():
    assert exact_match(' "The  answer is 42." [1]', "the answer is 42")
    assert exact_match("Fine [1, 2].", "fine")
    assert not exact_match("42", "43")
    assert token_f1("x b c", "b c d") == pytest.approx(2 / 3)
    assert token_f1("", "x") == 0
    assert confusions(list("aab"), list("bbb")) == [("a", "b", 2)]
    assert recalls(list("aab"), list("abb")) == [("a", 0.5, 2), ("b", 1.0, 1)]


def measured(**changes):
    values = {
        **dict.fromkeys(("seed", "fit_gpu_s", "open_s", "answer_s", "request_gpu_s"), 0),
        **dict.fromkeys(("fit_s", "peak_bytes", "own_bytes"), 1),
        **dict.fromkeys(("validation", "fit_flops", "peak_gpu_bytes")),
        **{"digest": "", "kind": "prompt", "chosen": {}, "labels_used": 10, "fit_cpu_s": 3600, "request_cpu_s": 0.36},
        **{"prompt_tokens": 1000, "completion_tokens": 100, "latencies_s": (0.1,)},
    }
    return Measurement(**{**values, **changes})


def test_costs():
    prices = PricesConfig(cpu_hour=0.1, gpu_hour=3.6, label=0.01)
    found = cost([measured()], prices, None)
    assert found.fit == pytest.approx(0.1 + 0.1)
    assert found.request == pytest.approx(1e-5)
    # Seeds are averaged; only the first of them times requests.
    several = [measured(), measured(request_cpu_s=None, fit_cpu_s=0)]
    assert cost(several, prices, None).fit == pytest.approx(0.15)
    assert cost(several, prices, None).request == pytest.approx(1e-5)
    assert cost([measured(request_gpu_s=1.0)], prices, None).request == pytest.approx(1e-5 + 1e-3)
    endpoint = EndpointConfig(url="x", model="y", prompt_price=2.0, completion_price=10.0)
    assert cost([measured()], prices, endpoint).request == pytest.approx(1e-5 + 0.002 + 0.001)


@settings(max_examples=100, deadline=None)
@given(*[st.floats(0, 100)] * 2, *[st.floats(1e-6, 1)] * 2)
def test_whole_costs_cross_at_the_break_even(fit, other_fit, request, other_request):
    costs = {"a": Cost(fit, request), "b": Cost(other_fit, other_request)}
    found = compared("a", "b", costs)
    at = {n: costs["a"].whole(n) - costs["b"].whole(n) for n in (0, 1e15, found.requests or 0)}
    match found.cheaper:
        case "always":
            assert max(at[0], at[1e15]) <= 0
        case "never":
            assert min(at[0], at[1e15]) >= 0
        case "from":
            assert at[0] > 0 > at[1e15]
            assert abs(costs["a"].whole(found.requests) - costs["b"].whole(found.requests)) <= 1e-6 + 1.1 * abs(
                request - other_request
            ) + 1e-9 * costs["a"].whole(found.requests)
        case "until":
            assert at[0] < 0 < at[1e15]
        case _:
            assert fit == other_fit


def test_the_break_even_is_against_the_cheapest_that_is_as_good():
    costs = {"lora": Cost(5, 0.001), "zero": Cost(0, 0.01), "tfidf": Cost(0.1, 1e-6), "best": Cost(9, 0.02)}
    groups = [["best", "lora", "zero"], ["tfidf"]]
    found = break_even("lora", costs, groups)
    assert (found.against, found.cheaper, found.requests) == ("zero", "from", 556)
    assert break_even("best", costs, groups).cheaper == "never"
    # A way of a worse group is held against the better ones too.
    assert break_even("tfidf", costs, groups).against == "zero"
    assert break_even("only", {"only": Cost(1, 1)}, [["only"]]) is None


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_ways_that_never_differ_arent_shown_to_be_equal(right):
    resamples = Resamples({"a": np.full((1, 50), right), "b": np.full((1, 50), right)})
    (found,) = resamples.against_best(["a", "b"]).values()
    assert found.value == 0.0
    assert -found.low == found.high == resamples.least == wilson_interval(0, 50).high > 0.05
    assert resamples.groups() == [["a", "b"]]
