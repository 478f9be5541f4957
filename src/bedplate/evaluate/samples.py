"""Python samples from a model, and the share of them that parses.

`ast.parse` only reads: nothing that the model wrote is ever executed. Two rules, both stated with the figures:

whole: the prompt and all that was generated, cut back to its last line break unless the model itself ended the
document; it parses or it doesn't. A sample that the token limit cuts inside a function or a string counts as failed, so
the same is done to real held-out documents, cut at the same number of tokens: that is what a perfect model would get.

lines: the longest run of lines from the start that parses, as a share of all lines of that text.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from bedplate.codecs.text import TextTokenizer
from bedplate.config.randomness import fold_in
from bedplate.errors import TokenizerError
from bedplate.evaluate.statistics import wilson_interval
from bedplate.families.model import Model
from bedplate.generate.engine import generate

RULE = (
    "A sample is the prompt and what was generated, cut back to its last line break unless the model ended the "
    "document itself. It counts if Python's ast.parse accepts all of it. Nothing is executed."
)


@dataclass(frozen=True)
class Sample:
    """One generated text, already cut by the rule; ended: the model wrote the document-end token itself."""

    prompt: str
    text: str
    ended: bool
    tokens: int

    @property
    def parses(self) -> bool:
        return parses(self.text)

    def row(self) -> dict[str, Any]:
        """What goes into samples.jsonl."""
        return {
            "prompt": self.prompt,
            "text": self.text,
            "ended": self.ended,
            "tokens": self.tokens,
            "parses": self.parses,
            "lines": len(_lines(self.text)),
            "parsing_lines": parsing_lines(self.text),
        }


def draw(
    model: Model,
    prompts: Sequence[str],
    count: int,
    *,
    start: int | None,
    max_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
) -> list[Sample]:
    """`count` samples, prompts taken in turn, each with a seed of its own. start: the token that begins a document."""
    tokenizer = model.tokenizer
    if tokenizer is None:
        raise TokenizerError("the model folder has no tokenizer, so it can't write text", "Add its tokenizer.json.")
    chosen = [prompts[i % len(prompts)] for i in range(count)]
    before = [] if start is None else [start]
    generations = generate(
        model,
        [before + tokenizer.encode(prompt) for prompt in chosen],
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        seeds=[fold_in(seed, "sample", i) for i in range(count)],
    )
    return [
        Sample(
            prompt, cut_back(prompt + g.text, ended=g.finish_reason == "stop"), g.finish_reason == "stop", len(g.tokens)
        )
        for prompt, g in zip(chosen, generations, strict=True)
    ]


def cut_documents(texts: Sequence[str], tokenizer: TextTokenizer, max_tokens: int) -> list[str]:
    """Real documents cut as samples are: at `max_tokens` tokens, then back to a line break; shorter ones whole."""
    result = []
    for text in texts:
        ids = tokenizer.encode(text)
        whole = len(ids) <= max_tokens
        result.append(cut_back(text if whole else tokenizer.decode(ids[:max_tokens]), ended=whole))
    return result


def cut_back(text: str, *, ended: bool) -> str:
    """The text up to and with its last line break; all of it where the document ended by itself."""
    return text if ended else text[: text.rfind("\n") + 1]


def parses(text: str) -> bool:
    """Whether Python's parser accepts the text and finds at least one statement in it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that don't exist: Deprecation- or SyntaxWarning by version
            return bool(ast.parse(text).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # ValueError: null bytes; the last two: deep nesting
        return False


def parsing_lines(text: str) -> int:
    """How many lines the longest run from the start has that parses; 0 where none does."""
    lines = _lines(text)
    return next((n for n in range(len(lines), 0, -1) if parses("".join(lines[:n]))), 0)


def summarise(texts: Sequence[str]) -> dict[str, Any]:
    """Share of texts that parse, with Wilson's 95% interval, and the share of lines in the longest parsing runs."""
    share = wilson_interval(sum(parses(text) for text in texts), len(texts))
    lines = sum(len(_lines(text)) for text in texts)
    return {
        "texts": len(texts),
        "parses": share.value,
        "parses_interval": [share.low, share.high],
        "parsing_line_share": sum(parsing_lines(text) for text in texts) / lines if lines else 0.0,
    }


def _lines(text: str) -> list[str]:
    # Not splitlines: a form feed or U+2028 inside a string ends no line of Python.
    return StringIO(text, newline="\n").readlines()
