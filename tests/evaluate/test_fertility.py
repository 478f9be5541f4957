"""Fertility: counted by hand on a small text, and told apart on real ones."""

from __future__ import annotations

import json

import pytest

from bedplate.codecs.text import TextTokenizer
from bedplate.data.train_tokenizer import TrainTokenizerConfig, train
from bedplate.errors import InputError
from bedplate.evaluate.fertility import fertility_table, measure_fertility, words_of
from bedplate.evaluate.fertility_files import open_tokenizer, read_texts


def made(texts: list[str], **config) -> TextTokenizer:
    asked = TrainTokenizerConfig(**config)
    return TextTokenizer(train(asked, lambda: iter([texts])).to_str(), asked.special_tokens.roles)


def test_words():
    assert words_of("It's 3 o’clock, naïve e\u0301!") == ["It", "s", "3", "o", "clock", "naïve", "e\u0301"]
    assert words_of("狐狸2跳 हिन्दी ไทย") == ["狐", "狸", "2", "跳", "हिन्दी", "ไ", "ท", "ย"]
    assert words_of(" \u0301") == []


def test_by_hand():
    texts = ["ab ba", "é"]
    found = measure_fertility({"bytes": made(texts, kind="bytes")}, {"xx": texts})[0]
    assert (found.words, found.characters, found.bytes, found.tokens) == (3, 6, 7, 7)
    assert (found.per_word, found.bytes_per_token, found.split_words) == (7 / 3, 1.0, 1.0)
    assert (found.unknown, found.changed) == (0, 0)
    assert found.facts()["per_character"] == 7 / 6


def test_no_text_is_refused():
    with pytest.raises(InputError, match="xx: no text"):
        measure_fertility({}, {"xx": [""]})


def test_real_languages(shared_data):
    """A tokenizer serves the language it learnt from best; bytes serve none, and Chinese worst."""
    texts = {}
    for language in ("en", "de", "zh"):
        found = json.loads((shared_data / "xquad" / f"xquad.{language}.json").read_text(encoding="utf-8"))
        texts[language] = [p["context"] for article in found["data"] for p in article["paragraphs"]]
    tokenizers = {f"bpe {name}": made(written, vocabulary=2000) for name, written in texts.items()}
    tokenizers["unigram all"] = made([t for w in texts.values() for t in w], kind="unigram", vocabulary=4000)
    tokenizers["bytes"] = made([], kind="bytes")
    measured = measure_fertility(tokenizers, texts)
    by = {(m.tokenizer, m.language): m for m in measured}
    for language in texts:
        own = by[f"bpe {language}", language]
        assert all(own.per_word < by[f"bpe {other}", language].per_word for other in texts if other != language)
        assert by["bytes", language].bytes_per_token == 1.0
        assert all(by[name, language].changed == 0 for name in tokenizers)
    assert by["bytes", "zh"].per_character > by["bytes", "de"].per_character > 1
    table = fertility_table(measured)
    assert len(table.splitlines()) == 2 + len(measured)
    assert f"{by['bpe en', 'en'].per_word:.3f}" in table
    print(table)


def test_a_text_is_a_line_and_nothing_else_ends_one(tmp_path):
    (tmp_path / "x.txt").write_bytes("a\u2028b\x0cc\x85d\r\n  \ne\rf\n".encode())
    assert read_texts(tmp_path / "x.txt") == ["a\u2028b\x0cc\x85d", "e\rf"]


def test_byt5s_folder_of_a_name_alone(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "ByT5Tokenizer"}))
    assert open_tokenizer(tmp_path).encode("a", post_process=True) == [100, 1]
