"""Bad parameters are refused by name."""

from __future__ import annotations

import math

import pytest

from bedplate.errors import UserError
from bedplate.generate.params import SamplingParams, params_from


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0),
        ("max_tokens", 1.5),
        ("max_tokens", True),
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", "hot"),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.01),
        ("min_p", -0.1),
        ("min_p", 1.5),
        ("repetition_penalty", 0.0),
        ("seed", -1),
        ("seed", 2**63),
        ("stop", [""]),
        ("stop", ["a", 3]),
        ("stop", 3),
        ("stop_token_ids", [-1]),
        ("stop_token_ids", "12"),
        ("ignore_eos", 1),
        ("top_logprobs", -1),
    ],
)
def test_a_bad_value_is_refused_by_name(field, value):
    with pytest.raises(UserError, match=field):
        SamplingParams(**{field: value})


def test_lists_and_a_single_stop_string_are_taken():
    params = SamplingParams(stop="END", stop_token_ids=[1, 2])
    assert params.stop == ("END",)
    assert params.stop_token_ids == (1, 2)
    assert hash(params) == hash(SamplingParams(stop=["END"], stop_token_ids=(1, 2)))


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UserError, match=r"temprature.*nearest: temperature"):
        params_from({"temprature": 1.0})
