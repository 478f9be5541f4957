"""What supports an answer: the weight of words, the sentence that has them, and the one to quote."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bedplate.adapt.retrieval.fusion import fused
from bedplate.adapt.retrieval.index import Passage
from bedplate.adapt.retrieval.support import citable_spans, gather
from bedplate.adapt.retrieval.words import Vocabulary, numbers, words


def passage(number, text, *, start=0, body=None, headings=()):
    body = start if body is None else body
    place = (number, 0, f"docs/{number}.txt", "a title", start, start + len(text), body)
    return Passage(*place, text=text, headings=headings, score=0.5, scores={})


def flat(texts):
    """An encoder to which all texts are alike: only words count."""
    return np.ones((len(texts), 1), dtype=np.float32)


def evidence(question, *passages, counts=None):
    vocabulary = Vocabulary(counts or {}, 100)
    return gather([question], np.ones((1, 1), dtype=np.float32), [passages], flat, vocabulary)[0]


def test_words():
    assert words("What does the Running of snake_case cost?") == {"runn", "snake", "case", "cost"}
    assert words("Which CAFÉS closed in 1989?") == {"café", "clos", "1989"}
    assert words("北京 tower") == {"北", "京", "tower"}
    assert words("the of and") == frozenset()
    assert numbers({"1989", "b2b", "tower"}) == {"1989", "b2b"}


def test_rare_words_tell_more(tmp_path):
    Vocabulary.save(tmp_path, Counter({"tower": 90, "koechlin": 1}))
    vocabulary = Vocabulary.load(tmp_path / "words.parquet", 100)
    assert vocabulary.weight("absent") > vocabulary.weight("koechlin") > vocabulary.weight("tower") > 0
    assert vocabulary.share(["tower", "koechlin"], frozenset({"koechlin"})) > 0.9
    assert vocabulary.share([], frozenset()) == 0.0
    assert vocabulary.share(["a"], frozenset({"a"})) == 1.0


def test_the_sentence_that_has_the_answers_words_supports_it():
    found = evidence("Who designed the tower?", passage(1, "The tower is tall. Maurice Koechlin designed it in 1889."))
    support, sentence = found.support("It was Maurice Koechlin.")
    assert sentence.text == "Maurice Koechlin designed it in 1889."
    assert support == pytest.approx(found.relevance)
    half, _ = found.support("It was Gustave Koechlin.")
    assert half == pytest.approx(support / 2)
    for wrong in ("It was Napoleon.", "In 1890.", "Maurice Koechlin in 1890", "..."):
        assert found.support(wrong) == (0.0, None)
    assert found.support("The tower.")[0] > 0  # it only repeats the question: looked for as it is


def test_a_question_that_the_passages_share_nothing_with_is_less_relevant():
    near = evidence("Who designed the tower?", passage(1, "The tower was designed by a man."))
    far = evidence("Who designed the tower?", passage(1, "Bread is baked early."))
    assert near.relevance == pytest.approx(1.0)
    assert far.relevance == pytest.approx(0.5)
    assert evidence("Who?").relevance == 0.0


def test_headings_count_and_a_section_is_quoted_by_its_opening():
    text = "## copytree\n\nCopies a folder. It follows links, and copies them."
    section = passage(1, text, start=100, body=100 + len("## copytree\n\n"), headings=("shutil", "copytree"))
    found = evidence("What does shutil.copytree do?", section)
    assert found.relevance == pytest.approx(1.0)
    best = found.best(2)
    assert [sentence.text for sentence in best] == ["Copies a folder.", "It follows links, and copies them."]
    for sentence in best:
        assert text[sentence.start - 100 : sentence.end - 100] == sentence.text


def test_lists_and_code_are_cited_by_lines():
    lines = [f"- item {n} with quite a few words that make the whole list long" for n in range(6)]
    spans = citable_spans(passage(1, "\n".join(lines), start=50))
    assert ["\n".join(lines)[a - 50 : b - 50] for a, b in spans] == lines
    alone = passage(2, "# Only a heading", body=len("# Only a heading"))
    assert citable_spans(alone) == [(0, len("# Only a heading"))]


def test_fusion():
    cosines = {1: 0.9, 2: 0.5, 3: 0.7, 4: 0.3}
    words_found = {3: 8.0, 4: 4.0}
    ranking = fused(cosines, words_found, least=0.5)
    assert ranking == [(3, pytest.approx(0.75)), (1, 0.5), (4, 0.25), (2, 0.0)]
    assert [item for item, _ in fused(cosines, {}, least=0.3)] == [1, 3, 2, 4]
    assert fused({}, {}, least=0.0) == []
    assert fused({1: 0.4}, {}, least=0.4) == [(1, 0.5)]
    same = fused({item: 3 * cosine - 7 for item, cosine in cosines.items()}, words_found, least=3 * 0.5 - 7)
    assert [item for item, _ in same] == [item for item, _ in ranking]  # the scale of cosines says nothing
