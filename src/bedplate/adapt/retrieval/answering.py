"""`RetrievalAnswerer`: a question is searched for and put to the base with what was found, and its answer is checked
against that: every sentence of it cites the exact span that supports it, and what isn't supported isn't said."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import replace

from bedplate.adapt.bases import LocalBase
from bedplate.adapt.face import Answer, Base, Citation, Message, Prepared
from bedplate.adapt.retrieval.index import Index
from bedplate.adapt.retrieval.prompts import NOT_IN_SOURCES, declined, question_of, with_passages, with_quotes
from bedplate.adapt.retrieval.sentences import sentence_spans
from bedplate.adapt.retrieval.settings import RetrievalSettings
from bedplate.adapt.retrieval.support import Evidence, Sentence, citation, gather
from bedplate.errors import InputError
from bedplate.generate.generation import Usage
from bedplate.generate.params import SamplingParams

_QUOTES = 2  # sentences put before a small base
_MARKER = re.compile(r"\s*\[\d{1,3}(?:\s*,\s*\d{1,3})*\]")


class PassagesDroppedWarning(UserWarning):
    """Not all passages fitted in the base's context."""


class RetrievalAnswerer:
    """Answers from an index by a base. dropped: passages or sentences that the base's context had no room for, all
    questions together."""

    def __init__(self, index: Index, base: Base, settings: RetrievalSettings, *, name: str) -> None:
        self.index, self.base, self.settings, self.name = index, base, settings, name
        self.dropped = 0

    def prepare(self, messages: Sequence[Message]) -> Prepared:
        """The search, and what is put to the base; the answer at once where no passage is relevant enough, or where it
        is a quotation anyway.

        The last user's message is what is searched for. Raises InputError where there is none.
        """
        return self._prepared(messages, self.evidence([question_of(messages)])[0])

    def finish(self, prepared: Prepared, answer: Answer) -> Answer:
        """The base's answer with its citations, without what isn't supported; or that it isn't in the sources."""
        if prepared.answer is not None:
            return prepared.answer
        evidence: Evidence = prepared.context
        return self.checked(evidence, answer)

    def generate(self, messages: Sequence[Message], params: SamplingParams | None = None) -> Answer:
        return self.generate_many([messages], params)[0]

    def generate_many(
        self, conversations: Sequence[Sequence[Message]], params: SamplingParams | None = None
    ) -> list[Answer]:
        """Answer several conversations, in one batch of the base's."""
        found = self.evidence([question_of(messages) for messages in conversations])
        prepared = [self._prepared(m, evidence) for m, evidence in zip(conversations, found, strict=True)]
        asked = [p for p in prepared if p.answer is None]
        params = params or SamplingParams(max_tokens=self.settings.max_tokens)
        answers = iter(self.base.generate_many([p.messages for p in asked], params) if asked else ())
        return [p.answer if p.answer is not None else self.finish(p, next(answers)) for p in prepared]

    def evidence(self, questions: Sequence[str]) -> list[Evidence]:
        """What is found for each question. Raises InputError for an empty one."""
        if not all(question.strip() for question in questions):
            raise InputError("there is no question to search for", "End the conversation with a user's message.")
        vectors = self.index.embed(questions)
        found = self.index.search_many(questions, self.settings.passages, self.settings.search, vectors=vectors)
        return gather(questions, vectors, found, self.index.embed, self.index.vocabulary)

    def checked(self, evidence: Evidence, answer: Answer) -> Answer:
        """A base's answer held against the evidence."""
        text = _MARKER.sub("", answer.text).strip()
        if declined(text):
            return abstention(answer.usage)
        kept: list[str] = []
        citations: list[Citation] = []
        for start, end in sentence_spans(text):
            support, sentence = evidence.support(text[start:end])
            if sentence is None or support < self.settings.threshold:
                continue
            kept.append(text[start:end])
            _cite(citations, sentence)
        if kept:
            whole = text if len(kept) == len(sentence_spans(text)) else " ".join(kept)
            return replace(answer, text=whole, citations=tuple(citations), abstained=False)
        if self.settings.style == "quotes":
            return quotation(evidence, answer.usage)
        return abstention(answer.usage)

    def _prepared(self, messages: Sequence[Message], evidence: Evidence) -> Prepared:
        if not evidence.sentences or evidence.relevance < self.settings.threshold:
            return Prepared((), evidence, abstention(Usage(0, 0)))
        if self.settings.style == "extract":
            return Prepared((), evidence, quotation(evidence, Usage(0, 0)))
        return Prepared(self._fitting(messages, evidence), evidence)

    def _fitting(self, messages: Sequence[Message], evidence: Evidence) -> Sequence[Message]:
        """The messages for the base, with as many passages (or sentences) as its context holds; the last go first, and
        are counted."""
        instruction = self.settings.instruction
        if self.settings.style == "quotes":
            quotes = [sentence.text for sentence in evidence.best(_QUOTES)]
            what = "sentences"
            choices = [with_quotes(messages, quotes[:n], instruction) for n in range(len(quotes), 0, -1)]
        else:
            passages = evidence.passages
            what = "passages"
            choices = [with_passages(messages, passages[:n], instruction) for n in range(len(passages), 0, -1)]
        dropped = next((n for n, put in enumerate(choices) if self._fits(put)), len(choices) - 1)
        if dropped:
            self.dropped += dropped
            warnings.warn(
                f"{dropped} of {len(choices)} {what} didn't fit in the context of {self.base.name}",
                PassagesDroppedWarning,
                stacklevel=3,
            )
        return choices[dropped]

    def _fits(self, messages: Sequence[Message]) -> bool:
        """Whether the base has room for the messages and an answer. An endpoint's context isn't known, and it says so
        itself where there isn't."""
        if not isinstance(self.base, LocalBase):
            return True
        return len(self.base.prompt_tokens(messages)) + self.settings.max_tokens <= self.base.context


def abstention(usage: Usage) -> Answer:
    """That the sources don't hold the answer."""
    return Answer(NOT_IN_SOURCES, usage, abstained=True)


def quotation(evidence: Evidence, usage: Usage) -> Answer:
    """The sentence most relevant to the question, word for word."""
    sentence = evidence.best(1)[0]
    return Answer(" ".join(sentence.text.split()), usage, (citation(1, sentence),))


def _cite(citations: list[Citation], sentence: Sentence) -> None:
    known = {(c.source, c.start, c.end) for c in citations}
    if (sentence.passage.source, sentence.start, sentence.end) not in known:
        citations.append(citation(len(citations) + 1, sentence))
