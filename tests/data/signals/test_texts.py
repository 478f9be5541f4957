"""How texts are taken apart into words, lines and paragraphs."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.data.signals.texts import Texts

TOKEN = re.compile(r"\w+(?:(?:[.'’]|(?<=[0-9])[,:/–-](?=[0-9]))\w+)*|([^\w\s])\1*")


def tokens(text):
    texts = Texts([text])
    return [text[a:b] for a, b in zip(texts.tokens.starts, texts.tokens.ends, strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't pay $1,000.50 at 10:30!", ["Don't", "pay", "$", "1,000.50", "at", "10:30", "!"]),
        ("e-mail a.b@c.de -- now...", ["e", "-", "mail", "a.b", "@", "c.de", "--", "now", "..."]),
        ("'quoted' 2024-05-01", ["'", "quoted", "'", "2024-05-01"]),
        ("我们好。", ["我", "们", "好", "。"]),
        ("แม่ x", ["แ", "ม่", "x"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("cafe\u0301 naïve", ["cafe\u0301", "naïve"]),
        ("a\u200bb", ["a", "b"]),
        ("", []),
        (" \t\r\n\u3000 ", []),
    ],
)
def test_words_and_marks(text, expected):
    assert tokens(text) == expected


@given(st.text(alphabet="ab1,.'-:/!? \n_é", max_size=60))
def test_words_are_those_of_the_stated_pattern(text):
    assert tokens(text) == [match.group() for match in TOKEN.finditer(text)]


@given(st.lists(st.text(alphabet="ab. \n\r\t", max_size=40), max_size=5))
def test_lines_and_paragraphs_are_those_of_splitting(some):
    texts = Texts(some)
    spans, expected = texts.lines, [[s.strip() for s in text.split("\n") if s.strip()] for text in some]
    joined = "\n".join([*some, ""])
    found = [joined[a:b] for a, b in zip(spans.starts, spans.ends, strict=True)]
    assert found == [line for lines in expected for line in lines]
    assert spans.counts.tolist() == [len(lines) for lines in expected]
    first, _ = texts.paragraphs
    paragraphs = [len([p for p in re.split(r"\n\s*\n", text) if p.strip()]) for text in some]
    assert np.bincount(spans.documents[first], minlength=len(some)).tolist() == paragraphs


@given(st.text(max_size=50), st.text(max_size=50))
def test_a_slice_hashes_alike_wherever_it_stands(before, text):
    alone, later = Texts([text]), Texts([before, text])
    place = len(before) + 1
    ends = np.array([len(text)])
    assert alone.hashes(np.array([0]), ends) == later.hashes(np.array([place]), ends + place)
