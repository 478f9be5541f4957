"""Cutting documents into chunks: nothing lost, nothing too long, and no cut inside what fits."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.adapt.retrieval.blocks import plain_blocks
from bedplate.adapt.retrieval.chunks import chunk_document, embedded
from bedplate.adapt.retrieval.markdown import markdown_blocks


def by_words(texts):
    """A tokenizer that makes a token of every word and every mark: what joins two texts makes none."""
    return [len(re.findall(r"\w+|[^\w\s]", text)) for text in texts]


def by_letters(texts):
    """One in which joining texts makes more tokens than they have apart."""
    return [len(text) for text in texts]


def shown(document, chunks):
    return [(chunk.context, document.text[chunk.start : chunk.end]) for chunk in chunks]


def test_sections_are_never_mixed_and_headings_stay_with_their_text():
    text = "# Top\n\n## One\n\nFirst text.\n\nSecond text.\n\n## Two\n\n### Deep\n\nThird text.\n"
    document = markdown_blocks(text)
    chunks = chunk_document(document, 40, by_words)
    assert shown(document, chunks) == [
        ((), "# Top\n\n## One\n\nFirst text.\n\nSecond text."),
        (("Top",), "## Two\n\n### Deep\n\nThird text."),
    ]
    assert [chunk.headings for chunk in chunks] == [("Top", "One"), ("Top", "Two", "Deep")]
    assert [text[chunk.body :].split(".")[0] for chunk in chunks] == ["First text", "Third text"]


def test_a_long_paragraph_is_cut_between_sentences_into_like_parts():
    text = "".join(f"Sentence number {n} has six words. " for n in range(10))
    document = plain_blocks(text)
    chunks = chunk_document(document, 40, by_words)
    assert all(text[chunk.start : chunk.end].endswith("words.") for chunk in chunks)
    sizes = [chunk.tokens for chunk in chunks]
    assert max(sizes) <= 40
    assert max(sizes) - min(sizes) <= 7


def test_code_and_tables_are_cut_between_lines_and_only_where_they_must_be():
    code = "\n".join(f"value_{n} = function({n})" for n in range(12))
    text = f"# T\n\nBefore.\n\n```\n{code}\n```\n\nAfter.\n"
    document = markdown_blocks(text)
    whole = chunk_document(document, 120, by_words)
    assert any(f"```\n{code}\n```" in text[chunk.start : chunk.end] for chunk in whole)
    for chunk in chunk_document(document, 30, by_words):
        assert text[: chunk.start][-1:] in ("", "\n")
        assert text[chunk.end :][:1] in ("", "\n")


def test_a_list_item_that_fits_is_whole():
    items = [f"- item {n} with some words in it. And a second sentence." for n in range(9)]
    text = "\n".join(items)
    chunks = chunk_document(markdown_blocks(text), 31, by_words)
    assert [line for chunk in chunks for line in text[chunk.start : chunk.end].split("\n")] == items


@settings(max_examples=150, deadline=None)
@given(
    text=st.text(alphabet=st.sampled_from("abc 1.\n#-`| é"), max_size=300),
    limit=st.integers(8, 60),
    count=st.sampled_from([by_words, by_letters]),
)
@pytest.mark.parametrize("reader", [plain_blocks, markdown_blocks])
def test_chunks_hold_every_letter_and_fit(reader, text, limit, count):
    document = reader(text)
    chunks = chunk_document(document, limit, count)
    at, covered = 0, set()
    for chunk in chunks:
        assert at <= chunk.start < chunk.end <= len(text)
        assert chunk.start <= chunk.body <= chunk.end
        assert chunk.tokens == count([embedded(text, chunk.start, chunk.end, chunk.context)])[0] <= limit
        covered.update(range(chunk.start, chunk.end))
        at = chunk.end
    assert all(place in covered for place, char in enumerate(text) if char.isalnum())


def test_one_endless_word():
    text = "x" * 1000
    chunks = chunk_document(plain_blocks(text), 100, by_letters)
    assert "".join(text[chunk.start : chunk.end] for chunk in chunks) == text
    assert all(chunk.tokens <= 100 for chunk in chunks)


def test_headings_too_long_to_be_repeated_are_left_out_from_the_top():
    text = f"# {'Long ' * 30}\n\n## Short\n\nA first paragraph here.\n\n" + "More of it here. " * 12
    chunks = chunk_document(markdown_blocks(text), 40, by_words)
    assert chunks[-1].context == ("Short",)
    assert all(chunk.tokens <= 40 for chunk in chunks)


def test_a_title_stands_before_every_chunk_that_doesnt_show_it():
    text = "# Manual\n\nAn introduction.\n\n## Use\n\nHow it is used.\n"
    document = markdown_blocks(text)
    assert [context for context, _ in shown(document, chunk_document(document, 40, by_words))] == [(), ("Manual",)]
    named = plain_blocks("Only text.")
    named = type(named)(named.text, "Its title", named.blocks)
    assert shown(named, chunk_document(named, 40, by_words)) == [(("Its title",), "Only text.")]
