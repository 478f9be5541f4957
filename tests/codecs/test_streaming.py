"""Streaming: the pieces add up to the whole decoding, and nothing shown is ever taken back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.codecs.streaming import StreamDecoder

KINDS = ["byte_level", "sentencepiece"]


def pieces(tokenizer, ids, **options):
    stream = StreamDecoder(tokenizer, **options)
    shown = [stream.push(i) for i in ids]
    return [*shown, stream.flush()]


@pytest.fixture(params=KINDS)
def tokenizer(request):
    return request.getfixturevalue(request.param)


@settings(deadline=None, max_examples=60)
@given(text=st.text() | st.text("helo wrd🙂é日"))
def test_stream_of_a_text_is_the_text(byte_level, sentencepiece, text):
    for tokenizer in (byte_level, sentencepiece):
        ids = tokenizer.encode(text)
        assert "".join(pieces(tokenizer, ids)) == tokenizer.decode(ids)


@settings(deadline=None, max_examples=100)
@given(ids=st.lists(st.integers(0, 345)))
def test_stream_of_any_bytes_is_the_whole_decoding(byte_level, ids):
    """Any ids at all, so broken UTF-8 too: our incremental decoder against the library's own."""
    for skip in (True, False):
        assert "".join(pieces(byte_level, ids, skip_special=skip)) == byte_level.decode(ids, skip_special=skip)


def test_a_character_of_several_tokens_comes_whole(tokenizer):
    ids = tokenizer.encode("he 🙂 lo")
    shown = pieces(tokenizer, ids)
    assert "�" not in "".join(shown)
    assert any("🙂" in piece for piece in shown)
    assert "" in shown  # something was held back


def test_an_unfinished_character_appears_on_flush_only(tokenizer):
    ids = tokenizer.encode("he🙂")[:-1]
    *shown, last = pieces(tokenizer, ids)
    assert "".join(shown) == "he"
    assert set(last) == {"�"}


def test_special_tokens_are_skipped_or_shown(byte_level):
    ids = [*byte_level.encode("hi"), byte_level.eos_id]
    assert "".join(pieces(byte_level, ids)) == "hi"
    assert "".join(pieces(byte_level, ids, skip_special=False)) == "hi</s>"


def test_a_flushed_decoder_is_as_new(tokenizer):
    stream = StreamDecoder(tokenizer)
    for _ in range(2):
        ids = tokenizer.encode("hello world")
        assert "".join([*(stream.push(i) for i in ids), stream.flush()]) == "hello world"
