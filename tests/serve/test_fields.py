"""Bodies made to cost much, or to slip past a bound."""

from __future__ import annotations

import json
import time

import pytest

from bedplate.serve.api_error import ApiError
from bedplate.serve.fields import parsed


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-32-be", "latin-1"])
def test_only_utf_8_is_read(encoding):
    """RFC 8259, section 8.1. In another encoding brackets would be bytes that the bound on depth doesn't look for."""
    body = ('{"a": "\u00e9\u00e9", "b": ' + "[" * 200 + "]" * 200 + "}").encode(encoding)
    with pytest.raises(ApiError, match="isn't") as caught:
        parsed(body)
    assert caught.value.status == 400


def test_a_byte_order_mark_is_let_pass():
    assert parsed('{"a": 1}'.encode("utf-8-sig")).take("a") == 1


def test_a_long_name_over_many_items_costs_no_more_than_reading_them():
    started = time.process_time()
    parsed(b'{"' + b"k" * 1_000_000 + b'": [' + b"0," * 400_000 + b"0]}")
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ({"a": [{"b": "x"}, {"b": ["y", "\ud800"]}]}, "a[1].b[1]"),
        ({"a": {"\udfff": 1}}, "a"),
        ({"\ud800": 1}, "the body"),
    ],
)
def test_half_characters_are_named_by_their_place(content, where):
    with pytest.raises(ApiError) as caught:
        parsed(json.dumps(content).encode())
    assert caught.value.param == where
