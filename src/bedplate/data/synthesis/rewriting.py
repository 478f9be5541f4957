"""Rephrasing, and questions with answers: each passage by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from bedplate.config import fold_in
from bedplate.data.synthesis import judging, prompts
from bedplate.data.synthesis.asking import Answer, Journal, Messages, Request, Unanswered, Writer
from bedplate.data.synthesis.config import SynthesizeConfig
from bedplate.data.synthesis.output import Output, Seed
from bedplate.data.synthesis.passages import passages

_BLOCK = 256
"""Requests that are in memory at once: rounded to whole batches of a local model."""


@dataclass(frozen=True)
class _Wanted:
    seed: Seed
    passage: str
    method: str
    name: str
    request: Request | None
    """None where the passage is too short to ask about."""


def rewrite(seeds: Iterable[Seed], config: SynthesizeConfig, writer: Writer, journal: Journal, output: Output) -> None:
    """Ask about every passage of every document, and tell the output what came of it, in order."""
    wanted = _wanted(seeds, config)
    size = max(1, _BLOCK // config.batch) * config.batch
    while block := list(islice(wanted, size)):
        requests = [one.request for one in block if one.request is not None]
        answers = writer.answers(requests, journal)
        output.asked(answers)
        left = iter(answers)
        for one in block:
            if one.request is None:
                output.drop(one.name, "short_passage", one.passage)
            else:
                _judge(one, next(left), config, output)


def _wanted(seeds: Iterable[Seed], config: SynthesizeConfig) -> Iterator[_Wanted]:
    ways = config.styles if config.method == "rephrase" else (None,)
    for seed in seeds:
        for number, passage in enumerate(passages(seed.text, config.passage_words)):
            for style in ways:
                method = config.method if style is None else f"{config.method}-{style}"
                name = f"synthetic/{method}/{seed.id}#{number}"
                request = None
                if len(passage.split()) >= config.least_words:
                    request = Request(_messages(passage, style, config), _number(config.seed, name))
                yield _Wanted(seed, passage, method, name, request)


def _messages(passage: str, style: str | None, config: SynthesizeConfig) -> Messages:
    if style is None:
        return prompts.question_answer(passage, config.pairs)
    return prompts.rephrase(passage, style)


def _number(seed: int, name: str) -> int:
    return fold_in(seed, "synthesize", name) >> 32  # servers differ on how large a seed may be


def _judge(one: _Wanted, answer: Answer | Unanswered, config: SynthesizeConfig, output: Output) -> None:
    if isinstance(answer, Unanswered):
        output.fail(one.name, answer)
        return
    text = prompts.cleaned(answer.text)
    reason = judging.whole(answer, text)
    pairs: list[tuple[str, str]] = []
    if reason is None and config.method == "question-answer":
        pairs = prompts.read_pairs(text)[: config.pairs]
        reason = None if pairs else "malformed"
        text = "\n\n".join(f"Question: {question}\nAnswer: {reply}" for question, reply in pairs) or text
    elif reason is None:
        reason = judging.faithful(text, one.passage, config.copied)
    if reason is None:
        output.keep(text, one.name, one.method, [one.seed], one.seed.split, pairs)
    else:
        output.drop(one.name, reason, text)
