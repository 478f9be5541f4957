"""What an answer rests on: which sentence of which passage holds what it says, and how much of it.

Passages are cut into sentences that can be cited. A passage is relevant to a question by the cosine of its nearest
sentence and by the share of the question's words that it has; an answer is supported by a sentence as far as the
sentence has the answer's own words (numbers: all of them), times its passage's relevance. Shares are weighted by how
rare a word is in the index. It is a measure of likeness, not of truth: a sentence that denies what the answer says has
its words too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bedplate.adapt.face import Citation
from bedplate.adapt.retrieval.index import Passage
from bedplate.adapt.retrieval.sentences import Span, line_spans, sentence_spans
from bedplate.adapt.retrieval.words import Vocabulary, numbers, words

Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]

_LONG = 240  # characters beyond which a "sentence" of several lines is a list, a table or code, and cited by its lines

_OPENING = 0.1
"""Added to the relevance of a sentence that opens a section: it says what the section is about. With the standard
library's docstrings it makes the first sentence the one that is quoted for "What does NAME do?"."""


@dataclass(frozen=True)
class Sentence:
    """Characters [start, end) of a passage's document. words: its own and those of the headings above it. relevance: to
    the question, as the sentence to quote: in [0, 1], and more where it opens a section."""

    passage: Passage
    start: int
    end: int
    text: str
    words: frozenset[str]
    relevance: float


@dataclass(frozen=True)
class Evidence:
    """What was found for a question. relevance: of the best passage, in [0, 1]: no answer can have more support."""

    question: str
    words: frozenset[str]
    passages: tuple[Passage, ...]
    sentences: tuple[Sentence, ...]
    of_passage: tuple[float, ...]
    vocabulary: Vocabulary

    @property
    def relevance(self) -> float:
        return max(self.of_passage, default=0.0)

    def best(self, count: int) -> list[Sentence]:
        """The sentences most relevant to the question, best first."""
        return sorted(self.sentences, key=lambda sentence: -sentence.relevance)[:count]

    def support(self, text: str) -> tuple[float, Sentence | None]:
        """How far the passages hold what `text` says, in [0, 1], and the sentence that holds most of it.

        What it repeats of the question needs no support, unless it says nothing else.
        """
        said = words(text)
        own = (said - self.words) or said
        best: tuple[float, float] = (0.0, 0.0)
        found: Sentence | None = None
        relevance = {p.id: value for p, value in zip(self.passages, self.of_passage, strict=True)}
        for sentence in self.sentences:
            if not numbers(own) <= sentence.words:
                continue
            value = relevance[sentence.passage.id] * self.vocabulary.share(own, sentence.words)
            if value and (value, sentence.relevance) > best:
                best, found = (value, sentence.relevance), sentence
        return best[0], found


def gather(
    questions: Sequence[str],
    vectors: npt.NDArray[np.float32],
    found: Sequence[Sequence[Passage]],
    embed: Embed,
    vocabulary: Vocabulary,
) -> list[Evidence]:
    """The evidence that each question's passages hold. vectors [N, D]: of the questions, of length 1, as those that
    `embed` gives; it is called once, with every sentence of every passage."""
    spans = {passage.id: citable_spans(passage) for passages in found for passage in passages}
    known = {passage.id: passage for passages in found for passage in passages}
    texts = [_read(known[number], span) for number, several in spans.items() for span in several]
    embedded = iter(embed(texts) if texts else ())
    sentences = {number: [next(embedded) for _ in several] for number, several in spans.items()}
    return [
        _evidence(question, [_nearness(spans[p.id], sentences[p.id], vector) for p in passages], passages, vocabulary)
        for question, vector, passages in zip(questions, vectors, found, strict=True)
    ]


def _nearness(
    spans: Sequence[Span], vectors: Sequence[npt.NDArray[np.float32]], question: npt.NDArray[np.float32]
) -> list[tuple[Span, float]]:
    """The spans of a passage's sentences, each with its cosine to the question."""
    return [(span, float(vector @ question)) for span, vector in zip(spans, vectors, strict=True)]


def _evidence(
    question: str,
    found: Sequence[Sequence[tuple[Span, float]]],
    passages: Sequence[Passage],
    vocabulary: Vocabulary,
) -> Evidence:
    asked = words(question)
    sentences: list[Sentence] = []
    of_passage: list[float] = []
    for passage, spans in zip(passages, found, strict=True):
        above = words(" ".join(passage.headings))
        for number, (span, near) in enumerate(spans):
            text = _within(passage, span)
            has = words(text) | above
            opens = number == 0 and passage.body > passage.start
            relevance = (max(0.0, near) + vocabulary.share(asked, has)) / 2 + (_OPENING if opens else 0.0)
            sentences.append(Sentence(passage, *span, text, has, relevance))
        nearest = max((near for _, near in spans), default=0.0)
        of_passage.append((max(0.0, nearest) + vocabulary.share(asked, words(passage.text) | above)) / 2)
    return Evidence(question, asked, tuple(passages), tuple(sentences), tuple(of_passage), vocabulary)


def citable_spans(passage: Passage) -> list[Span]:
    """The sentences of a passage below its own headings, as spans of its document; of lists and code the lines."""
    skip = passage.body - passage.start if passage.start <= passage.body < passage.end else 0
    spans: list[Span] = []
    for start, end in sentence_spans(passage.text, skip):
        long = end - start > _LONG and "\n" in passage.text[start:end]
        spans += line_spans(passage.text, start, end) if long else [(start, end)]
    return [(passage.start + start, passage.start + end) for start, end in spans]


def citation(number: int, sentence: Sentence) -> Citation:
    """A sentence as an answer cites it."""
    passage = sentence.passage
    return Citation(number, passage.source, passage.title, sentence.start, sentence.end, sentence.text, passage.score)


def _read(passage: Passage, span: Span) -> str:
    """A sentence as it is compared with the question: under the heading nearest above it."""
    text = _within(passage, span)
    return f"{passage.headings[-1]}\n{text}" if passage.headings else text


def _within(passage: Passage, span: Span) -> str:
    return passage.text[span[0] - passage.start : span[1] - passage.start]
