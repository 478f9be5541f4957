"""`TextTokenizer`: lossless, equal to transformers, blind to special tokens in plain text, clear about damage."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.codecs.text import TextTokenizer
from bedplate.errors import TokenizerError

MIXED = ["", " ", "hello world", "<s>x</s> <|im_start|>", "é日本🙂\r\n\t  x", "added words é!", "\0\x7f￿", "12345678"]


@settings(deadline=None)
@given(text=st.text())
def test_round_trip_is_lossless_on_any_text(byte_level, text):
    ids = byte_level.encode(text)
    assert byte_level.decode(ids) == text
    assert b"".join(map(byte_level.token_bytes, ids)) == text.encode()
    assert not set(ids) & set(byte_level.special_tokens.values())


@pytest.mark.parametrize("text", MIXED)
def test_ids_equal_transformers(byte_level, tmp_path, text):
    from transformers import AutoTokenizer

    byte_level.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert byte_level.encode(text, specials=True) == theirs(text, add_special_tokens=False).input_ids
    assert byte_level.encode(text, specials=True, post_process=True) == theirs(text).input_ids
    ids = theirs(text).input_ids
    assert byte_level.decode(ids, skip_special=False) == theirs.decode(ids)
    assert byte_level.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
    assert (theirs.bos_token_id, theirs.eos_token_id) == (byte_level.bos_id, byte_level.eos_id)


def test_special_tokens_in_plain_text_stay_text(byte_level):
    text = "<|im_start|>system"
    assert byte_level.encode(text, specials=True)[0] == byte_level.special_tokens["<|im_start|>"]
    assert byte_level.special_tokens["<|im_start|>"] not in byte_level.encode(text)
    assert byte_level.encode_batch([text, text]) == [byte_level.encode(text)] * 2


def test_saving_and_loading_keeps_everything(byte_level, tmp_path):
    original = TextTokenizer(byte_level.backend.to_str(), {"bos_token": "<s>"}, chat_template="{{ messages }}\n")
    original.save(tmp_path)
    loaded = TextTokenizer.load(tmp_path)
    assert loaded.fingerprint == original.fingerprint == byte_level.fingerprint
    assert loaded.chat_template == original.chat_template
    assert (loaded.bos_id, loaded.eos_id, loaded.vocab_size) == (0, None, original.vocab_size)


def test_fingerprint_ignores_batching_state_and_sees_the_rest(byte_level):
    content = json.loads(byte_level.backend.to_str())
    padded = {**content, "truncation": {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}}
    same = TextTokenizer(json.dumps(padded))
    assert same.fingerprint == byte_level.fingerprint
    assert len(same.encode("hello world hello world")) > 3
    content["model"]["merges"].pop()
    assert TextTokenizer(json.dumps(content)).fingerprint != byte_level.fingerprint


def test_where_chat_templates_and_ids_are_found(saved):
    folder, config = saved
    named = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
    del config["eos_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": named}))
    (folder / "config.json").write_text(json.dumps({"eos_token_id": 0}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [3, 1]}))
    tokenizer = TextTokenizer.load(folder)
    assert (tokenizer.chat_template, tokenizer.eos_id) == ("D", 3)
    (folder / "chat_template.jinja").write_text("J")
    assert TextTokenizer.load(folder).chat_template == "J"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f, c: (f / "tokenizer.json").unlink(), "no tokenizer.json"),
        (lambda f, c: (f / "tokenizer.json").write_text("{"), "not JSON"),
        (lambda f, c: (f / "tokenizer.json").write_text("[]"), "no `model`"),
        (lambda f, c: (f / "tokenizer.json").write_text('{"model": {"type": "Nonsense"}}'), "not a tokenizer"),
        (lambda f, c: (f / "tokenizer.json").write_bytes(b"\xff\xfe{"), "not UTF-8"),
        (lambda f, c: (f / "tokenizer_config.json").write_text("3"), "tokenizer_config.json: not a JSON object"),
        (
            lambda f, c: (f / "tokenizer_config.json").write_text('{"bos_token": "<nowhere>"}'),
            "bos_token is '<nowhere>'",
        ),
    ],
)
def test_damage_is_named(saved, damage, says):
    damage(*saved)
    with pytest.raises(TokenizerError) as error:
        TextTokenizer.load(saved[0])
    assert says in error.value.problem
    assert str(saved[0]) in error.value.problem
    assert error.value.fix


def test_tokens_beyond_the_vocabulary_are_nothing(byte_level):
    assert byte_level.token_bytes(10**6) == b""
    assert byte_level.decode([byte_level.vocab_size + 5]) == ""
