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


@dataclass(frozen=True)
class Sentence:
    """Characters [start, end) of a passage's document. near: cosine to the question. words: its own and those of the
    headings above it. relevance: to the question, in [0, 1], as the sentence to quote."""

    passage: Passage
    start: int
    end: int
    text: str
    near: float
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
    question: str, vector: npt.NDArray[np.float32], passages: Sequence[Passage], embed: Embed, vocabulary: Vocabulary
) -> Evidence:
    """The evidence that the passages hold. vector: of the question, of length 1, as those that `embed` gives."""
    asked = words(question)
    spans = [(passage, span) for passage in passages for span in citable_spans(passage)]
    texts = [_within(passage, span) for passage, span in spans]
    nearness = embed(texts) @ vector if texts else np.zeros(0, dtype=np.float32)
    sentences = []
    for (passage, (start, end)), text, near in zip(spans, texts, nearness.tolist(), strict=True):
        has = words(text) | words(" ".join(passage.headings))
        relevance = (max(0.0, near) + vocabulary.share(asked, has)) / 2
        sentences.append(Sentence(passage, start, end, text, near, has, relevance))
    of_passage = []
    for passage in passages:
        nearest = max((s.near for s in sentences if s.passage is passage), default=0.0)
        has = words(passage.text) | words(" ".join(passage.headings))
        of_passage.append((max(0.0, nearest) + vocabulary.share(asked, has)) / 2)
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


def _within(passage: Passage, span: Span) -> str:
    return passage.text[span[0] - passage.start : span[1] - passage.start]
