"""Chat messages -> the prompt text that a model was trained on, by the model's own Jinja template.

The template comes with the model and isn't trusted: it runs in a sandbox and on a budget of time and size (see
`bedplate.codecs.sandbox`). What it sees equals what `transformers`' `apply_chat_template` gives, tested against it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from datetime import datetime
from functools import lru_cache
from types import TracebackType
from typing import Any

from jinja2 import Template
from jinja2.exceptions import TemplateError, TemplateSyntaxError

from bedplate.codecs.sandbox import LimitError, Limits, TemplateEnvironment, limited, marking
from bedplate.errors import InputError

_REASONING = ("reasoning_content", "thinking", "reasoning")
"""Names under which a message's reasoning is passed; the first is the one that most templates read."""


class RefusedError(TemplateError):
    """The template's own `raise_exception`."""


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    add_generation_prompt: bool = True,
    bos_token: str = "",
    eos_token: str = "",
    limits: Limits | None = None,
    **variables: Any,
) -> str:
    """The prompt text for a conversation: see `Rendering`, which this makes and asks once."""
    named = {"bos_token": bos_token, "eos_token": eos_token}
    rendering = Rendering(template, messages, tools=tools, limits=limits, **named, **variables)
    return rendering.text(add_generation_prompt=add_generation_prompt)


class Rendering:
    """A conversation under a template, to be written out whole or in part.

    messages: `{"role": ..., "content": ...}` objects, JSON data only; keys without a value are left out. tools: JSON
    schemas of functions the model may call. variables: anything else the template reads (`documents`,
    `enable_thinking`, ...), the tokenizer's named tokens among them. Encode the text with `specials=True` and without
    the post-processor: templates write BOS themselves.

    Everything here raises InputError where the template is broken, refuses the messages, reaches for what it may not,
    or takes more than `limits` allow for one rendering.
    """

    def __init__(
        self,
        template: str,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        limits: Limits | None = None,
        **variables: Any,
    ) -> None:
        self.template, self._limits = template, limits or Limits()
        if not isinstance(messages, (list, tuple)) or not all(isinstance(m, Mapping) for m in messages):
            raise InputError("messages: not a list of objects", 'Give [{"role": "user", "content": "..."}].')
        if len(template) > self._limits.template:
            raise InputError(
                f"the chat template has {len(template)} characters, more than the {self._limits.template} allowed",
                "Use the template that the model's maker publishes.",
            )
        self.messages: list[dict[str, Any]] = [_message(m, f"messages[{i}]") for i, m in enumerate(messages)]
        self.tools: list[Any] | None = None if tools is None else _plain(list(tools), "tools")
        self._variables = {name: _plain(value, name) for name, value in variables.items()}

    def text(self, count: int | None = None, *, add_generation_prompt: bool = False) -> str:
        """The first `count` messages, all where None. add_generation_prompt: end where the assistant is to speak."""
        data = {
            "messages": self.messages[:count],
            "tools": self.tools,
            "documents": None,
            "bos_token": "",
            "eos_token": "",
            **self._variables,
            "add_generation_prompt": add_generation_prompt,
        }
        with self._explained():
            text = _compiled(self.template).render(data)
        if len(text) > self._limits.largest:
            raise InputError(
                f"the chat template wrote {len(text)} characters, more than the {self._limits.largest} allowed"
            )
        return text

    def changed(self, change: Callable[[Any], Any]) -> Rendering:
        """The same with the messages (each an object), the tools and every variable put through `change`."""
        other = copy(self)
        other.messages = [change(message) for message in self.messages]
        other.tools = change(self.tools)
        other._variables = {
            name: value if name.endswith("_token") else change(value) for name, value in self._variables.items()
        }
        return other

    def with_message(self, index: int, message: dict[str, Any]) -> Rendering:
        """The same with one message replaced."""
        other = copy(self)
        other.messages = [*self.messages[:index], message, *self.messages[index + 1 :]]
        return other

    @property
    def has_generation(self) -> bool:
        """Whether the template says itself what the assistant writes, in `{% generation %}` blocks."""
        with self._explained():
            return _has_generation(self.template)

    def generation_spans(self, text: str, *, add_generation_prompt: bool = False) -> list[tuple[int, int]]:
        """Where in `text`, the whole conversation's, the template's `{% generation %}` blocks lie, as (start, end)."""
        opening, closing = unused_characters(2, text + self.template)
        with marking(opening, closing):
            marked = self.text(add_generation_prompt=add_generation_prompt)
        pieces = re.split(f"([{opening}{closing}])", marked)
        spans, at, begin = [], 0, None
        for piece in pieces:
            if piece == opening and begin is None:
                begin = at
            elif piece == closing and begin is not None:
                if at > begin:
                    spans.append((begin, at))
                begin = None
            elif piece in (opening, closing):
                break  # one inside another, or a template that took a block apart
            else:
                at += len(piece)
        if begin is not None or "".join(pieces[::2]) != text:
            raise InputError(
                "the chat template changes what its {% generation %} blocks wrote, so they don't say where it lies",
                "Put the blocks around what is written out as it is.",
            )
        return spans

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """The budget of one rendering, and what goes wrong in it told as InputError."""
        try:
            with limited(self._limits):
                yield
        except RefusedError as error:
            raise InputError(
                f"the chat template refuses these messages: {error}", "Change the messages as it asks."
            ) from error
        except TemplateSyntaxError as error:
            raise InputError(
                f"the chat template is broken at line {error.lineno}: {error.message}",
                "Repair or replace the template.",
            ) from error
        except LimitError as error:
            raise InputError(
                f"the chat template was stopped: {error}",
                "It may be hostile; use the one that the model's maker publishes.",
            ) from error
        except (Exception, MemoryError) as error:
            where = _line(error.__traceback__)
            raise InputError(
                f"the chat template fails{where} with {type(error).__name__}: {str(error)[:300]}",
                "Check that the messages have the fields it reads, or replace the template.",
            ) from error


def unused_characters(count: int, text: str) -> list[str]:
    """Characters that aren't in a text and never stand for anything (Unicode's noncharacters U+FDD0 to U+FDEF)."""
    free = [c for c in map(chr, range(0xFDD0, 0xFDF0)) if c not in text]
    if len(free) < count:
        raise InputError("the text holds nearly all of Unicode's noncharacters", "Take them out: they mean nothing.")
    return free[:count]


@lru_cache(maxsize=64)
def _compiled(template: str) -> Template:
    environment = TemplateEnvironment()
    environment.filters["tojson"] = _tojson
    environment.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now, dict=_TemplateDict())
    return environment.from_string(template)


@lru_cache(maxsize=64)
def _has_generation(template: str) -> bool:
    return TemplateEnvironment().has_generation(template)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as Hugging Face's templates expect it: no HTML escapes, characters kept as they are."""
    TemplateEnvironment.weighed(value)
    if indent is not None and (len(indent) if isinstance(indent, str) else indent) > 64:
        raise LimitError("it indents JSON by more than 64")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: Any) -> None:
    raise RefusedError(str(message)[:1000])


def _strftime_now(pattern: str) -> str:
    if len(pattern) > 100 or any(c.isdigit() for c in pattern):  # C libraries take widths, however large
        raise LimitError("its date format is too long or has widths in it")
    return datetime.now().strftime(pattern)


class _TemplateDict:
    """`dict(...)` for templates, without the type's own attributes."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


def _plain(value: Any, where: str) -> Any:
    """A copy made of plain JSON types: objects with methods have no business inside a template."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Mapping):
        return {_plain(k, where): _plain(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
    raise InputError(f"{where}: a {type(value).__name__} can't be given to a chat template", "Give JSON data only.")


def _message(message: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A message as templates expect it: no key without a value, as APIs write them."""
    return _with_reasoning({k: v for k, v in _plain(message, where).items() if v is not None})


def _with_reasoning(message: dict[str, Any]) -> dict[str, Any]:
    """A message whose reasoning has all the names that templates read it under."""
    reasoning = next((message[name] for name in _REASONING if message.get(name) is not None), None)
    if reasoning is None:
        return message
    return {"thinking": reasoning, **message, "reasoning_content": reasoning}


def _line(trace: TracebackType | None) -> str:
    line = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return "" if line is None else f" at line {line}"
