"""Conversations -> tokens, with exactly the assistant's marked: what a model learns to write, and nothing else.

The tokens are those that `transformers`' `apply_chat_template` gives, but for special tokens that somebody typed into a
message: they stay plain text (see `bedplate.codecs.injection`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bedplate.codecs.assistant_spans import Turns
from bedplate.codecs.chat import Rendering
from bedplate.codecs.guarded import Span
from bedplate.codecs.injection import typed_specials
from bedplate.codecs.text import Encoded, TextTokenizer
from bedplate.errors import InputError, TokenizerError

Message = Mapping[str, Any]
Supervise = Literal["all", "last"]

_AT_ONCE = 256
"""Conversations that are encoded at a time, on all cores."""


@dataclass(frozen=True)
class Chat:
    """A conversation. origin: where it stood, for messages to people: "chats.jsonl line 12"."""

    messages: Sequence[Message]
    tools: Sequence[Mapping[str, Any]] | None = None
    origin: str = ""


@dataclass(frozen=True)
class ChatTokens:
    """An encoded conversation.

    ids: tokens. supervised: for each, whether the assistant has to write it, the token that ends its turn included.
    text: what was encoded. spans: characters (start, end) of `text` that the assistant has to write.
    """

    ids: list[int]
    supervised: list[bool]
    text: str = ""
    spans: Sequence[Span] = ()
    straddling: int = 0
    """Tokens that hold both what the assistant writes and what it doesn't. They are not supervised."""
    plain_specials: int = 0
    """Special tokens typed into the data, which were encoded as plain text."""
    origin: str = ""


def encode_chat(
    tokenizer: TextTokenizer,
    messages: Sequence[Message],
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    add_generation_prompt: bool = False,
    supervise: Supervise = "all",
    parse_content_specials: bool = False,
    **variables: Any,
) -> ChatTokens:
    """A conversation as the model's chat template writes it, as tokens.

    supervise: every turn of the assistant, or its last alone; a turn with `weight: 0` never counts. Special tokens in
    the data are plain text unless parse_content_specials. variables: what else the template reads.

    What is supervised is what the template's `{% generation %}` blocks write, whitespace after the end of the turn
    included where they include it; without such blocks it is worked out, see `bedplate.codecs.assistant_spans`, and
    such whitespace is left out, because the model has stopped by then. A token that is the assistant's only in part
    isn't supervised, and is counted in `straddling`.

    Raises TokenizerError without a chat template, InputError where the template refuses the messages, leaves out tools
    or tool calls, or doesn't let the assistant's part be told.
    """
    written = _write(
        tokenizer, Chat(messages, tools), add_generation_prompt, supervise, parse_content_specials, variables
    )
    return next(_tokenise(tokenizer, [written]))


def encode_chats(
    tokenizer: TextTokenizer,
    chats: Iterable[Chat],
    *,
    supervise: Supervise = "all",
    parse_content_specials: bool = False,
    **variables: Any,
) -> Iterator[ChatTokens]:
    """`encode_chat` for many, on all cores. Errors name the conversation's origin."""
    waiting = iter(chats)
    while some := list(islice(waiting, _AT_ONCE)):
        written = [_write(tokenizer, chat, False, supervise, parse_content_specials, variables) for chat in some]
        yield from _tokenise(tokenizer, written)


def chat_prompt_ids(
    tokenizer: TextTokenizer,
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] | None = None,
    *,
    parse_content_specials: bool = False,
    **variables: Any,
) -> list[int]:
    """The tokens that put a conversation to the model and ask for its answer. Raises as `encode_chat` does."""
    rendering = _rendering(tokenizer, Chat(messages, tools), variables)
    text = rendering.text(add_generation_prompt=True)
    _check_tools(rendering, text)
    plain = [] if parse_content_specials else _typed(tokenizer, rendering, text, True)
    return tokenizer.encode_with_offsets([text], [plain])[0].ids


@dataclass(frozen=True)
class _Written:
    text: str
    spans: list[Span]
    plain: list[Span]
    origin: str


def _write(
    tokenizer: TextTokenizer,
    chat: Chat,
    add_generation_prompt: bool,
    supervise: Supervise,
    parse_content_specials: bool,
    variables: Mapping[str, Any],
) -> _Written:
    try:
        rendering = _rendering(tokenizer, chat, variables)
        text = rendering.text(add_generation_prompt=add_generation_prompt)
        _check_tools(rendering, text)
        turns = Turns(rendering, text, add_generation_prompt, tokenizer.markers)
        spans = turns.spans(_wanted(chat.messages, supervise))
        plain = [] if parse_content_specials else _typed(tokenizer, rendering, text, add_generation_prompt)
        return _Written(text, spans, plain, chat.origin)
    except InputError as error:
        if not chat.origin:
            raise
        raise InputError(f"{chat.origin}: {error.problem}", error.fix) from error


def _rendering(tokenizer: TextTokenizer, chat: Chat, variables: Mapping[str, Any]) -> Rendering:
    if tokenizer.chat_template is None:
        raise TokenizerError(
            "the model has no chat template", "Use an instruction-tuned base, or put a chat_template.jinja beside it."
        )
    return Rendering(
        tokenizer.chat_template, chat.messages, tools=chat.tools, **{**tokenizer.named_tokens, **variables}
    )


def _typed(tokenizer: TextTokenizer, rendering: Rendering, text: str, add_generation_prompt: bool) -> list[Span]:
    specials = tuple(tokenizer.special_tokens)
    return typed_specials(rendering, text, specials, add_generation_prompt=add_generation_prompt)


def _check_tools(rendering: Rendering, text: str) -> None:
    for tool in rendering.tools or ():
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if isinstance(name, str) and name not in text:
            raise InputError(
                f"the chat template leaves out the tool {name!r}",
                "Use a model whose chat template writes tools, or describe them in the system message.",
            )


def _wanted(messages: Sequence[Message], supervise: Supervise) -> list[int]:
    turns = [i for i, m in enumerate(messages) if m.get("role") == "assistant"]
    if supervise == "last":
        turns = turns[-1:]
    return [i for i in turns if messages[i].get("weight", 1) != 0]


def _tokenise(tokenizer: TextTokenizer, written: Sequence[_Written]) -> Iterator[ChatTokens]:
    encoded = tokenizer.encode_with_offsets([w.text for w in written], [w.plain for w in written])
    for w, tokens in zip(written, encoded, strict=True):
        supervised, straddling = _inside(tokens, w.spans)
        yield ChatTokens(
            *(tokens.ids, supervised.tolist(), w.text, w.spans),
            straddling,
            plain_specials=len(w.plain),
            origin=w.origin,
        )


def _inside(tokens: Encoded, spans: Sequence[Span]) -> tuple[npt.NDArray[np.bool_], int]:
    """Which tokens lie wholly within a span [T], and how many only in part."""
    start, end = tokens.offsets[:, 0], tokens.offsets[:, 1]
    inside = np.zeros(len(start), dtype=bool)
    touching = np.zeros(len(start), dtype=bool)
    for a, b in spans:
        inside |= (start >= a) & (end <= b) & (start < b)
        touching |= (start < b) & (end > a)
    return inside, int((touching & ~inside).sum())
