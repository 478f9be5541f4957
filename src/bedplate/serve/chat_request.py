"""`/v1/chat/completions`: what is asked, checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bedplate.serve.api_error import ApiError, refused
from bedplate.serve.fields import Fields
from bedplate.serve.sampling_fields import MAX_TOKENS, Sampling, read_sampling

MAX_MESSAGES = 2048
MAX_TOOLS = 128
MAX_TOP_LOGPROBS = 20

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
"""Role in a request -> role in the chat template: `developer` is what `system` was called before."""

UNSUPPORTED = (
    "tool_choice", "parallel_tool_calls", "functions", "function_call", "prediction", "audio", "web_search_options",
    "reasoning_effort", "verbosity",
)  # fmt: skip


@dataclass(frozen=True)
class ChatRequest:
    """messages: `{"role", "content", ...}` of plain texts. tools: for the chat template. logprobs: whether the answer
    says its tokens' (the likeliest others are in the sampling). usage: whether a stream ends with it."""

    model: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    sampling: Sampling
    logprobs: bool
    stream: bool
    usage: bool


def read_chat(fields: Fields) -> ChatRequest:
    """Raises a 400 naming the field that is wrong or not supported."""
    model = _model(fields)
    messages = _messages(fields)
    tools = _tools(fields)
    stream, usage = read_stream(fields)
    logprobs = fields.flag("logprobs")
    top = fields.whole("top_logprobs", 0, MAX_TOP_LOGPROBS)
    if top and not logprobs:
        raise refused("top_logprobs needs logprobs to be true", "top_logprobs", "invalid_value")
    sampling = read_sampling(fields)
    given = sampling.given | ({"top_logprobs": top} if top else {}) | _most_tokens(fields)
    fields.neutral("response_format", {"type": "text"})
    fields.neutral("modalities", ["text"])
    fields.neutral("store", False)
    fields.neutral("service_tier", "auto", "default")
    for name in UNSUPPORTED:
        fields.neutral(name)
    fields.close()
    return ChatRequest(model, messages, tools, replace(sampling, given=given), logprobs, stream, usage)


def read_stream(fields: Fields) -> tuple[bool, bool]:
    """Whether to stream, and whether the stream ends with the usage."""
    stream = fields.flag("stream")
    options = fields.object("stream_options")
    if options is None:
        return stream, False
    if not stream:
        raise refused("stream_options needs stream to be true", "stream_options", "invalid_value")
    usage = options.flag("include_usage")
    options.neutral("include_obfuscation", False)
    options.close()
    return stream, usage


def _model(fields: Fields) -> str:
    fields.need("model")
    return str(fields.text("model"))


def _most_tokens(fields: Fields) -> dict[str, int]:
    old, new = fields.whole("max_tokens", 1, MAX_TOKENS), fields.whole("max_completion_tokens", 1, MAX_TOKENS)
    if old is not None and new is not None and old != new:
        raise refused(
            f"max_tokens is {old} and max_completion_tokens is {new}: give one of them", "max_tokens", "invalid_value"
        )
    most = old if new is None else new
    return {} if most is None else {"max_tokens": most}


def _messages(fields: Fields) -> list[dict[str, Any]]:
    given = fields.need("messages")
    if not isinstance(given, list) or not given:
        raise fields.wrong("messages", given, "an array of at least one message")
    if len(given) > MAX_MESSAGES:
        raise refused(f"messages has {len(given)} entries, and the limit is {MAX_MESSAGES}", "messages")
    return [_message(message, f"messages[{i}]") for i, message in enumerate(given)]


def _message(given: Any, where: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise refused(f"{where} is no object", where, "invalid_value")
    fields = Fields(given, f"{where}.")
    role = fields.need("role")
    if not isinstance(role, str) or role not in ROLES:
        raise fields.wrong("role", role, f"one of {', '.join(ROLES)}")
    message: dict[str, Any] = {"role": ROLES[role]}
    calls = fields.take("tool_calls") if role == "assistant" else None
    if calls is not None:
        message["tool_calls"] = _calls(calls, fields.name("tool_calls"))
    content = fields.take("content")
    if content is None and not message.get("tool_calls"):
        raise refused(f"{where}.content is missing", f"{where}.content", "missing_required_parameter")
    message["content"] = "" if content is None else _content(content, f"{where}.content")
    for name in ("name", "tool_call_id") if role == "tool" else ("name",):
        if (value := fields.text(name)) is not None:
            message[name] = value
    if role == "assistant":  # what our own answers carry, and clients send back with them
        for name in ("refusal", "citations", "abstained", "annotations", "audio", "function_call"):
            _returned(fields, name)
    fields.close()
    return message


def _returned(fields: Fields, name: str) -> None:
    if name in ("citations", "abstained"):
        fields.take(name)
    else:
        fields.neutral(name, [])


def _content(content: Any, where: str) -> str:
    """A text, or the texts of its parts one after another."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise refused(f"{where} must be a string or an array of text parts", where, "invalid_value")
    texts = []
    for i, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            shown = kind if isinstance(kind, str) and len(kind) < 40 else "without a type"
            raise refused(f"{where}[{i}]: parts of type {shown} aren't supported, only text", f"{where}[{i}]")
        fields = Fields(part, f"{where}[{i}].")
        fields.take("type")
        text = fields.need("text")
        if not isinstance(text, str):
            raise fields.wrong("text", text, "a string")
        fields.close()
        texts.append(text)
    return "".join(texts)


def _calls(calls: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(calls, list) or len(calls) > MAX_TOOLS:
        raise refused(f"{where} must be an array of at most {MAX_TOOLS} calls", where, "invalid_value")
    for i, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise refused(f"{where}[{i}] must have a function with a name", f"{where}[{i}]", "invalid_value")
    return calls


def _tools(fields: Fields) -> list[dict[str, Any]] | None:
    tools = fields.take("tools")
    if tools is None or tools == []:
        return None
    if not isinstance(tools, list) or len(tools) > MAX_TOOLS:
        raise fields.wrong("tools", tools, f"an array of at most {MAX_TOOLS} functions")
    for i, tool in enumerate(tools):
        if not _is_function(tool):
            raise ApiError(400, f"tools[{i}] must be a function with a name", param=f"tools[{i}]", code="invalid_value")
    return tools


def _is_function(tool: Any) -> bool:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        return False
    function = tool.get("function")
    return isinstance(function, dict) and isinstance(function.get("name"), str)
