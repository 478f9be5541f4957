"""Every column by hand, and what holds of all of them."""

import json
import math
import re
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.data.signals import measuring
from bedplate.data.signals.columns import ALL_COLUMNS, FAMILIES, FAMILY_COLUMNS
from bedplate.data.signals.measuring import measure
from bedplate.data.signals.texts import Texts

FRACTIONS = [name for table in FAMILY_COLUMNS.values() for name in table if name.endswith("_fraction")]
PAGE = st.text(alphabet="abAB1 .!?'\"\n{#•-…]我。\u0301\0\ud800", max_size=300)


def one(text, *families):
    return {name: values[0] for name, values in measure([text], families or FAMILIES).items()}


def near(value):
    return pytest.approx(value, rel=1e-6)


def test_quality():
    text = "# The dogs have 3 bones...\n- Bring that to me\n• and more…\n"
    got = one(text, "quality")
    # Words and marks: # The dogs have 3 bones ... - Bring that to me • and more …
    assert got["words"] == 11
    assert got["mean_word_length"] == near(len("ThedogshavebonesBringthattomeandmore3") / 11)
    assert got["hash_ratio"] == near(1 / 16)
    assert got["ellipsis_ratio"] == near(2 / 16)
    assert got["bullet_line_fraction"] == near(2 / 3)
    assert got["ellipsis_line_fraction"] == near(2 / 3)
    assert got["alphabetic_word_fraction"] == near(10 / 16)
    assert got["stop_words"] == 5  # the, have, that, to, and


def test_ellipses_are_counted_without_overlap():
    assert one("a...... b.. …", "quality")["ellipsis_ratio"] == near(3 / 5)


def test_characters():
    got = one("Ab 1!é\0", "characters")
    assert got["characters"] == 7
    assert got["letter_fraction"] == near(3 / 7)
    assert got["digit_fraction"] == near(1 / 7)
    assert got["whitespace_fraction"] == near(1 / 7)
    assert got["punctuation_fraction"] == near(1 / 7)
    assert got["uppercase_fraction"] == near(1 / 3)
    assert got["non_ascii_fraction"] == near(1 / 7)
    assert got["unprintable_fraction"] == near(1 / 7)


def test_lines_and_paragraphs_that_came_before():
    got = one("one\n two \n\none\ntwo\n\none\ntwo\nthree\n", "repetition")
    assert (got["lines"], got["paragraphs"]) == (7, 3)
    assert got["duplicate_line_fraction"] == near(4 / 7)
    visible = len("one two onetwoonetwothree")
    assert got["duplicate_line_character_fraction"] == near(12 / visible)
    assert got["duplicate_paragraph_fraction"] == near(1 / 3)
    assert got["duplicate_paragraph_character_fraction"] == near(6 / visible)


def test_the_most_common_ngram_and_those_that_came_before():
    text = "to be or not to be that is to be"
    got = one(text, "repetition")
    assert got["top_2_gram_character_fraction"] == near(3 * len("to be") / len(text))
    assert got["top_3_gram_character_fraction"] == 0
    text = "a b c d e f x a b c d e f"
    got = one(text, "repetition")
    assert got["duplicate_5_gram_character_fraction"] == near(6 / len(text))
    assert got["duplicate_6_gram_character_fraction"] == near(6 / len(text))
    assert got["duplicate_7_gram_character_fraction"] == 0


def test_c4():
    text = (
        "This is a sentence. And J. Smith asks: why? \n"
        "Too short.\n"
        "It says nothing at its end\n"
        "Please enable JavaScript in your browser.\n"
        "We have a Privacy Policy for you.\n"
        'He said "no, not here."\n'
        "A claim with a note.[12]\n"
        "It trails off here...\n"
        f"One {'x' * 1001} word here.\n"
        "Lorem ipsum dolor {sit} amet.\n"
    )
    got = one(text, "c4")
    assert got["c4_line_fraction"] == near(4 / 10)
    assert got["c4_sentences"] == 2 + 1 + 1 + 1
    assert got["sentences"] == 11
    assert got["longest_word"] == 1001
    assert (got["javascript_lines"], got["policy_lines"], got["lorem_ipsum"], got["curly_brackets"]) == (1, 1, 1, 1)


def test_sentences_of_a_script_without_spaces():
    assert one("今天很好。我们去吧！你呢？", "c4")["sentences"] == 3
    assert one("今天很好。我们去吧！你呢", "c4")["sentences"] == 3


def test_lower_case_that_is_longer_than_its_capital_moves_no_line():
    got = one("İİİİİİ\nnothing here at all.\nuse of JavaScript is fine.\n", "c4")
    assert got["javascript_lines"] == 1
    assert got["c4_line_fraction"] == near(1 / 3)


def test_fineweb():
    text = "Home\nAbout\n\nThis is a line of more than thirty characters.\nHome\n"
    got = one(text, "fineweb")
    assert got["punctuated_line_fraction"] == near(1 / 4)
    assert got["short_line_fraction"] == near(3 / 4)
    assert got["newline_ratio"] == near(5 / 13)
    assert got["duplicate_line_character_fraction"] == near(4 / len(text.replace("\n", "")))


def test_mentions():
    got = one("The Women met a german woman; THE DEAF boy, she's gay. Womens' humanity.", "mentions")
    assert got["mentions_gender"] == 3
    assert got["mentions_nationality"] == 1
    assert got["mentions_disability"] == 1
    assert got["mentions_orientation"] == 1
    assert got["mentions_religion"] == 0


@pytest.mark.parametrize("text", ["", " \n\t\n ", "\n" * 50, "\u200b"])
def test_nothing_gives_zeros(text):
    got = one(text)
    blank = {"characters", "whitespace_fraction", "non_ascii_fraction"}
    assert {name: value for name, value in got.items() if value and name not in blank} == {}


@settings(max_examples=200, deadline=None)
@given(st.lists(PAGE, min_size=1, max_size=6), st.integers(1, 200))
def test_columns_dont_depend_on_neighbours_and_shares_are_shares(texts, at_once):
    whole = measure(texts, FAMILIES)
    usual, measuring.AT_ONCE = measuring.AT_ONCE, at_once
    try:
        assert measure(texts, FAMILIES) == whole
    finally:
        measuring.AT_ONCE = usual
    for index, text in enumerate(texts):
        assert one(text) == {name: values[index] for name, values in whole.items()}
    for name, values in whole.items():
        assert all(math.isfinite(value) and value >= 0 for value in values), name
        assert all(isinstance(value, float if ALL_COLUMNS[name] == "float32" else int) for value in values), name
        if name in FRACTIONS:
            assert max(values) <= 1, name


def naive(text):
    """Repetition by the book: dictionaries of n-grams, one document, one n-gram at a time."""
    text = text.replace("\u200b", " ")
    texts = Texts([text])
    words = [text[a:b] for a, b in zip(texts.tokens.starts, texts.tokens.ends, strict=True)]
    expected = {}
    for n in range(2, 11):
        grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        if n <= 4:
            counts = Counter(grams)
            most = max(counts.values(), default=0)
            length = max((len(" ".join(gram)) for gram, count in counts.items() if count == most), default=0)
            expected[f"top_{n}_gram_character_fraction"] = min(1, most * length / len(text)) if most > 1 else 0
        else:
            seen, covered = set(), set()
            for i, gram in enumerate(grams):
                if gram in seen:
                    covered.update(range(i, i + n))
                seen.add(gram)
            characters = sum(len(words[i]) for i in covered)
            expected[f"duplicate_{n}_gram_character_fraction"] = characters / max(1, len(text))
    for unit, parts in (("line", text.split("\n")), ("paragraph", re.split(r"\n[^\S\n]*(?:\n[^\S\n]*)+", text))):
        parts = [[line.strip() for line in part.split("\n") if line.strip()] for part in parts]
        parts = [tuple(part) for part in parts if part]
        again = [part for i, part in enumerate(parts) if part in parts[:i]]
        visible = len(text) - text.count("\n")
        expected[f"{unit}s"] = len(parts)
        expected[f"duplicate_{unit}_fraction"] = len(again) / max(1, len(parts))
        expected[f"duplicate_{unit}_character_fraction"] = sum(map(len, map("".join, again))) / max(1, visible)
    return expected


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab .\n", max_size=250))
def test_repetition_equals_a_naive_count(text):
    got = one(text, "repetition")
    assert {name: got[name] for name in naive(text)} == {name: near(value) for name, value in naive(text).items()}


def test_repetition_equals_a_naive_count_on_real_pages(shared_data):
    gold = json.loads((shared_data / "article_extraction/ground-truth.json").read_text())
    texts = [page["articleBody"] for page in gold.values()][:30]
    columns = measure(texts, ["repetition"])
    for index, text in enumerate(texts):
        for name, value in naive(text).items():
            assert columns[name][index] == near(value), name


@pytest.mark.parametrize(
    "text",
    ["a" * 3_000_000, "a " * 1_500_000, "x y.\n" * 600_000, "a]\n" * 500_000, "\n" * 3_000_000, "。" * 2_000_000],
    ids=["one letter", "one word", "lines", "brackets", "blank", "marks"],
)
def test_long_documents_take_time_in_proportion(text):
    begun = time.process_time()
    got = one(text)
    assert time.process_time() - begun < 10  # seconds where a quadratic step would take hours
    assert got["characters"] == len(text)
    assert all(np.isfinite(list(got.values())))


def test_a_long_document_is_measured_by_its_beginning():
    long = measure(["one two. " * 200 + "{" * 100], FAMILIES, longest=900)
    assert long["words"] == [200]
    assert long["curly_brackets"] == [0]
    assert long["characters"] == [1900]
