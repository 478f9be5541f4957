"""Chat messages -> the prompt text that a model was trained on, by the model's own Jinja template.

The template comes with the model and isn't trusted: it runs in a sandbox and on a budget of time and size (see
`bedplate.codecs.sandbox`). What it sees equals what `transformers`' `apply_chat_template` gives, tested against it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from types import TracebackType
from typing import Any

from jinja2 import Template
from jinja2.exceptions import TemplateError, TemplateSyntaxError

from bedplate.codecs.sandbox import LimitError, Limits, TemplateEnvironment, limited
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
    """The prompt text for a conversation.

    messages: `{"role": ..., "content": ...}` objects, JSON data only. tools: JSON schemas of functions the model may
    call. add_generation_prompt: end where the assistant is to speak. variables: anything else the template reads
    (`documents`, `enable_thinking`, ...). Encode the result with `specials=True` and without the post-processor:
    templates write BOS themselves.

    Raises InputError where the template is broken, refuses the messages, reaches for what it may not, or takes more
    than `limits` allow.
    """
    limits = limits or Limits()
    if not isinstance(messages, (list, tuple)) or not all(isinstance(m, Mapping) for m in messages):
        raise InputError("messages: not a list of objects", 'Give [{"role": "user", "content": "..."}].')
    data = {
        "messages": [_with_reasoning(_plain(m, f"messages[{i}]")) for i, m in enumerate(messages)],
        "tools": None if tools is None else _plain(list(tools), "tools"),
        "documents": None,
        "add_generation_prompt": add_generation_prompt,
        "bos_token": bos_token,
        "eos_token": eos_token,
        **{name: _plain(value, name) for name, value in variables.items()},
    }
    if len(template) > limits.template:
        raise InputError(
            f"the chat template has {len(template)} characters, more than the {limits.template} allowed",
            "Use the template that the model's maker publishes.",
        )
    try:
        with limited(limits):
            text = _compiled(template).render(data)
    except RefusedError as error:
        raise InputError(
            f"the chat template refuses these messages: {error}", "Change the messages as it asks."
        ) from error
    except TemplateSyntaxError as error:
        raise InputError(
            f"the chat template is broken at line {error.lineno}: {error.message}", "Repair or replace the template."
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
    if len(text) > limits.largest:
        raise InputError(f"the chat template wrote {len(text)} characters, more than the {limits.largest} allowed")
    return text


@lru_cache(maxsize=64)
def _compiled(template: str) -> Template:
    environment = TemplateEnvironment()
    environment.filters["tojson"] = _tojson
    environment.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now, dict=_TemplateDict())
    return environment.from_string(template)


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
