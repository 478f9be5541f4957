"""ROUGE-L against plain dynamic programming, passages, and what is wrong with answers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.data.synthesis import judging, prompts
from bedplate.data.synthesis.asking import Answer
from bedplate.data.synthesis.passages import passages
from bedplate.data.synthesis.similarity import TextPool, copied_share, rouge_l, words


def plain_rouge(one, other):
    """By the textbook's table."""
    if not one or not other:
        return 0.0
    row = [0] * (len(other) + 1)
    for a in one:
        before = 0
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], before + 1 if a == b else max(row[j], row[j - 1])
    return 2 * row[-1] / (len(one) + len(other))


TEXT = st.lists(st.sampled_from("abcdefg"), max_size=20)
LONG = st.lists(st.sampled_from("abcdefg"), min_size=60, max_size=150)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(TEXT, LONG), max_size=8), st.one_of(TEXT, LONG), st.floats(0.1, 1))
def test_rouge_l_is_that_of_the_table(texts, text, threshold):
    pool = TextPool()
    for one in texts:
        pool.add(one)
    expected = [plain_rouge(one, text) for one in texts]
    assert pool.rouge_l(text).tolist() == pytest.approx(expected)
    assert pool.holds_similar(text, threshold) == any(value >= threshold - 1e-12 for value in expected)


def test_rouge_l_by_hand():
    """Lin 2004: "police killed the gunman" and "police kill the gunman" share three words of four."""
    assert rouge_l(words("Police killed the gunman."), words("police kill the gunman")) == pytest.approx(0.75)
    assert rouge_l(words("Ключ от дома"), words("ключ от дома!")) == 1


def test_a_pool_grows_in_both_ways():
    pool = TextPool()
    for number in range(300):
        pool.add([f"w{number}", *["x"] * (number % 90)])
    assert len(pool) == 300
    assert pool.rouge_l(["w299", *["x"] * 29])[299] == 1


def test_what_was_copied():
    source = words("one two three four five six seven eight nine ten")
    assert copied_share(source, source) == 1
    assert copied_share(words("two three four five six and then more"), source) == pytest.approx(1 / 4)
    assert copied_share([], source) == 0


@given(st.text(alphabet="ab .\n", max_size=400), st.integers(2, 12))
def test_passages_keep_every_word_in_order(text, most):
    found = passages(text, most)
    assert [word for passage in found for word in passage.split()] == text.split()
    assert all(0 < len(passage.split()) <= most for passage in found)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("I'm sorry, but I can't help with that.", "refusal"),
        ("As an AI language model, I have no opinion.", "refusal"),
        ("**I cannot** do this", "refusal"),
        ("Sorrel is a plant that I can grow.", None),
        ("I canned the fruit.", None),
        ("with \0 in it", "not_text"),
    ],
)
def test_refusals_and_the_like(text, reason):
    assert judging.whole(Answer(text, False), text) == reason
    assert judging.whole(Answer("x", True), "x") == "cut_off"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Explain why the sky is blue at noon.", None),
        ("Explain.", "instruction_length"),
        ("Describe what this picture shows in detail.", "beyond_text"),
        ("Write a program that sorts numbers well.", "write_a_program"),
        ("(the following is a task for you)", "odd_beginning"),
        ("Erkläre die Photosynthese in drei Sätzen.", None),
    ],
)
def test_tasks_that_are_none(text, reason):
    assert judging.instruction(text) == reason


def test_answers_are_read_as_they_are_written():
    text = "Here they are:\n\n**Question:** Who?\n**Answer:** Ann,\nof course.\n\nQuestion 2: Why?\nAnswer: Because.\n"
    assert prompts.read_pairs(text) == [("Who?", "Ann,\nof course."), ("Why?", "Because.")]
    assert prompts.read_tasks("Sure!\n9. Do this\nthoroughly.\n10) And that.\n11.\n") == [
        "Do this thoroughly.",
        "And that.",
    ]
    assert prompts.cleaned("Sure, here is the text:\n\nThe text: it is.") == "The text: it is."
    assert prompts.cleaned("Here is where he lived: a house.\nMore.") == "Here is where he lived: a house.\nMore."
