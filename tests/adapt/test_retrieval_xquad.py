"""Real questions over real paragraphs (XQuAD, English) with real models: what is found, answered, cited and declined.

The floors are below what `benchmarks/retrieval.py` measures by more than its intervals.
"""

from __future__ import annotations

import json

import pytest

from bedplate.adapt.bases import LocalBase
from bedplate.adapt.retrieval.answering import RetrievalAnswerer
from bedplate.adapt.retrieval.index import Index
from bedplate.adapt.retrieval.settings import RetrievalSettings
from bedplate.adapt.retrieval.stage import index_documents
from bedplate.adapt.retrieval.way import open_index
from bedplate.console import Console
from bedplate.generate.params import SamplingParams


@pytest.fixture(scope="session")
def articles(shared_data):
    """For each article its paragraphs: (text, [(question, answer)])."""
    content = json.loads((shared_data / "xquad" / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    return [
        [(p["context"], [(q["question"], q["answers"][0]["text"]) for q in p["qas"]]) for p in article["paragraphs"]]
        for article in content
    ]


@pytest.fixture(scope="session")
def make(articles, minilm, tmp_path_factory):
    """`make(articles, keep)`: the index of the first articles' paragraphs that `keep` chooses by number, with all
    questions as (question, answer, source, kept)."""

    def build(count, keep=lambda number: True):
        folder = tmp_path_factory.mktemp("xquad")
        questions = []
        for article, paragraphs in enumerate(articles[:count]):
            for number, (text, asked) in enumerate(paragraphs):
                name = f"{article:02}-{number}.txt"
                if keep(number):
                    (folder / "docs").mkdir(exist_ok=True)
                    (folder / "docs" / name).write_text(text, encoding="utf-8", newline="")
                questions += [(q, a, f"docs/{name}", keep(number)) for q, a in asked]
        artefact = index_documents(folder / "docs", minilm, folder / "index", console=Console.quiet())
        return Index.open(artefact), questions

    return build


@pytest.fixture(scope="session")
def small(make):
    return make(4, lambda number: number % 2 == 0)


def firsts(index, questions, mode):
    """The share of questions whose document is found first."""
    found = index.search_many([question for question, *_ in questions], 1, mode)
    return sum(bool(p) and p[0].source == source for p, (_, _, source, _) in zip(found, questions, strict=True)) / len(
        questions
    )


def resolve(index, answers):
    for answer in answers:
        assert answer.abstained == (not answer.citations)
        for citation in answer.citations:
            assert index.source_text(citation.source)[citation.start : citation.end] == citation.text


def ask(answerer, questions, tokens=24):
    conversations = [[{"role": "user", "content": question}] for question, *_ in questions]
    return answerer.generate_many(conversations, SamplingParams(max_tokens=tokens))


def test_paragraphs_are_found(small):
    index, questions = small
    kept = [question for question in questions if question[3]]
    assert firsts(index, kept, "vector") >= 0.85
    assert firsts(index, kept, "hybrid") >= 0.9


def test_quotations_hold_answers_and_absent_ones_are_declined(small, smollm2):
    index, questions = small
    answers = ask(open_index(index.artefact, base=smollm2), questions)
    resolve(index, answers)
    pairs = list(zip(questions, answers, strict=True))
    present = [(question, answer) for question, answer in pairs if question[3]]
    absent = [answer for question, answer in pairs if not question[3]]
    assert sum(q[1].lower() in a.text.lower() for q, a in present) / len(present) >= 0.55
    assert sum(a.abstained for _, a in present) / len(present) <= 0.2
    assert sum(a.abstained for a in absent) / len(absent) >= 0.85


@pytest.mark.parametrize("style", ["quotes", "passages"])
def test_every_answer_of_a_real_base_cites_exact_spans(small, smollm2, style):
    index, questions = small
    base = LocalBase(smollm2)
    answers = ask(RetrievalAnswerer(index, base, RetrievalSettings(style=style), name="r"), questions[:6])
    resolve(index, answers)
    assert any(answer.usage.completion_tokens for answer in answers)


@pytest.mark.slow
def test_the_whole_of_xquad(make):
    """The floor of .89 for vectors; the two searches together are no worse, and better than either."""
    index, questions = make(48)
    assert len(questions) == 1190
    vector, words, both = (firsts(index, questions, mode) for mode in ("vector", "bm25", "hybrid"))
    assert vector >= 0.89
    assert both >= max(vector, words)
    assert both >= 0.94


@pytest.mark.slow
def test_declining_over_all_articles(make, smollm2):
    index, questions = make(48, lambda number: number % 2 == 0)
    answers = ask(open_index(index.artefact, base=smollm2), questions)
    resolve(index, answers)
    absent = [a for q, a in zip(questions, answers, strict=True) if not q[3]]
    present = [a for q, a in zip(questions, answers, strict=True) if q[3]]
    assert sum(a.abstained for a in absent) / len(absent) >= 0.9
    assert sum(a.abstained for a in present) / len(present) <= 0.15
