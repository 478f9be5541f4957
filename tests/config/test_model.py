"""`Config`: strict, frozen, and its semantic part."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from bedplate.config import Config, execution


class Source(Config):
    path: str = Field(description="Where.")
    readers: int = execution(1, description="How many at once.")


class Example(Config):
    steps: int = Field(10, description="How many.")
    rate: float = Field(0.1, description="How fast.")
    mode: Literal["a", "b"] = Field("a", description="Which.")
    words: frozenset[str] = Field(frozenset(), description="Some words.")
    sources: list[Source] = Field(default=[], description="From where.")
    named: dict[str, Source] = Field(default={}, description="From where, by name.")
    main: Source = Field(Source(path="x"), description="The main one.")
    log_every: int = execution(5, description="How often to log.", ge=1)


def test_semantic_leaves_out_execution_fields_at_every_depth():
    config = Example(sources=[Source(path="p", readers=9)], named={"n": Source(path="q", readers=8)}, log_every=7)
    assert config.semantic() == {
        "steps": 10,
        "rate": 0.1,
        "mode": "a",
        "words": [],
        "sources": [{"path": "p"}],
        "named": {"n": {"path": "q"}},
        "main": {"path": "x"},
    }


@given(st.sets(st.text()), st.integers(1, 100), st.integers(1, 100), st.randoms())
def test_semantic_knows_neither_order_nor_execution(words, log_every, readers, random):
    shuffled = list(words)
    random.shuffle(shuffled)
    one = Example(words=words, log_every=log_every)
    other = Example.model_validate({"words": shuffled, "main": {"path": "x", "readers": readers}})
    assert one.semantic() == other.semantic()


@given(st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False))
def test_semantic_survives_a_round_trip(steps, rate):
    config = Example(steps=steps, rate=rate)
    assert Example.model_validate(config.model_dump(mode="json")).semantic() == config.semantic()


def test_integers_and_floats_of_one_value_are_one():
    assert Example(rate=1).semantic() == Example.model_validate({"rate": 1.0}).semantic()


def test_is_frozen_strict_and_finite():
    with pytest.raises(ValidationError):
        Example(stepz=1)
    with pytest.raises(ValidationError):
        Example(rate=float("nan"))
    with pytest.raises(ValidationError):
        Example(log_every=0)
    with pytest.raises(ValidationError):
        Example().steps = 3


def test_a_field_needs_a_description():
    with pytest.raises(TypeError, match="Bare: fields without a description: x"):

        class Bare(Config):
            x: int = 1
