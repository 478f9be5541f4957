"""Rows in the forms that people keep conversations in -> messages, ready for a chat template.

| form | keys of a row |
|---|---|
| openai | `messages: [{role, content, tool_calls, ...}]`, `tools`; a turn's `weight` 0 leaves it out of the loss |
| sharegpt | `conversations: [{from: human, gpt, system, function_call or observation, value}]`, `system`, `tools` |
| alpaca | `instruction`, `input`, `output`, `system`, `history: [[question, answer], ...]` |
| completion | `prompt`, `completion`: texts, or lists of messages |
| answer | `prompt` or `question`, `answer` |
| text | `text`: plain text, no conversation |

Anything that a row holds and that can't be put into messages is an error that names the file, the row and the key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from bedplate.codecs.chat_tokens import Chat
from bedplate.data.row_files import Row, read_rows
from bedplate.errors import InputError

Form = Literal["openai", "sharegpt", "alpaca", "completion", "answer", "text"]

_KEYS: dict[Form, tuple[str, ...]] = {
    "openai": ("messages",),
    "sharegpt": ("conversations",),
    "alpaca": ("instruction", "output"),
    "completion": ("prompt", "completion"),
    "answer": ("prompt|question", "answer"),
    "text": ("text",),
}
_PREFERENCES = ("chosen", "rejected", "kto_tag", "chosen_messages", "rejected_messages")
_MEDIA = ("images", "videos", "audios", "image", "video", "audio")
_ROLES = {
    **{role: role for role in ("system", "user", "assistant", "tool")},
    **{"developer": "system", "function": "tool"},
    **{"human": "user", "gpt": "assistant", "function_call": "assistant", "observation": "tool"},
}
_ASKED: dict[Form, tuple[str, ...]] = {
    "openai": ("system", "developer", "user", "assistant", "tool", "function"),
    "sharegpt": ("human", "gpt", "system", "function_call", "observation", "user", "assistant", "tool"),
}


@dataclass(frozen=True)
class PlainText:
    """A row of text that is no conversation. origin: where it stood."""

    text: str
    origin: str = ""


def read_conversations(path: str | Path, form: Form | None = None) -> Iterator[Chat | PlainText]:
    """The rows of a JSONL, JSON, Parquet, CSV or TSV file as conversations, in order.

    form: told from each row's keys where None. Raises InputError naming file, row and key.
    """
    if form is not None and form not in _KEYS:
        raise InputError(f"no row form {form!r}", f"Choose one of {', '.join(get_args(Form))}.")
    for row in read_rows(path):
        yield conversation(row, form)


def conversation(row: Row, form: Form | None = None) -> Chat | PlainText:
    """One row as a conversation, checked: known roles, something said in each turn, and a turn of the assistant's."""
    values = {key: value for key, value in row.values.items() if value is not None}
    reader = _Reader(row.place)
    form = form or reader.form_of(values)
    reader.need(values, form)
    if form == "text":
        return PlainText(reader.text(values["text"], "text"), row.place)
    read: dict[Form, Callable[[dict[str, Any]], list[dict[str, Any]]]] = {
        "openai": reader.openai,
        "sharegpt": reader.sharegpt,
        "alpaca": reader.alpaca,
        "completion": reader.completion,
        "answer": reader.answer,
    }
    messages = read[form](values)
    if not any(m["role"] == "assistant" for m in messages):
        raise reader.wrong("no turn of the assistant's, so there is nothing to learn", "Add one, or take the row out.")
    return Chat(messages, reader.tools(values.get("tools")), row.place)


def split_turns(chat: Chat) -> list[Chat]:
    """A conversation as one for each of the assistant's turns, which it ends with: to be encoded with
    supervise="last" where a chat template writes earlier turns differently once later ones follow."""
    return [
        Chat(chat.messages[: i + 1], chat.tools, chat.origin)
        for i, message in enumerate(chat.messages)
        if message.get("role") == "assistant" and message.get("weight", 1) != 0
    ]


class _Reader:
    """Reads one row; every complaint begins with its place."""

    def __init__(self, place: str) -> None:
        self._place = place

    def wrong(self, problem: str, fix: str) -> InputError:
        return InputError(f"{self._place}: {problem}", fix)

    def form_of(self, values: Mapping[str, Any]) -> Form:
        preference = next((key for key in _PREFERENCES if key in values), None)
        if preference or ("label" in values and isinstance(values["label"], bool)):
            raise self.wrong(
                f"the key {preference or 'label'!r} makes it a preference, which says what not to write as well",
                "Keep only what should be written, as messages.",
            )
        media = next((key for key in _MEDIA if values.get(key)), None)
        if media:
            raise self.wrong(f"the key {media!r} holds more than text", "Only text can be trained on here.")
        found = [form for form, keys in _KEYS.items() if all(_has(values, key) for key in keys)]
        if not found:
            raise self.wrong(
                f"no known form of conversation (keys: {', '.join(map(str, values)) or 'none'})",
                "Use messages, conversations, instruction and output, prompt and completion or answer, or text.",
            )
        if len(found) > 1 and found != ["completion", "answer"]:
            raise self.wrong(
                f"it could be any of {', '.join(found)} (keys: {', '.join(map(str, values))})",
                "Take out the keys that don't count, or name the form.",
            )
        return found[0]

    def need(self, values: Mapping[str, Any], form: Form) -> None:
        for key in _KEYS[form]:
            if not _has(values, key):
                raise self.wrong(
                    f"no key {key.split('|')[0]!r}, which the form {form} has (keys: {', '.join(map(str, values))})",
                    "Add it, or name another form.",
                )

    def openai(self, values: dict[str, Any]) -> list[dict[str, Any]]:
        return self._messages(values["messages"], "messages")

    def sharegpt(self, values: dict[str, Any]) -> list[dict[str, Any]]:
        messages = self._system(values)
        for index, turn in enumerate(self._objects(values["conversations"], "conversations")):
            where = f"conversations[{index}]"
            role = self._role(turn.get("from"), f"{where}.from", "sharegpt")
            if turn["from"] == "function_call":
                messages.append({"role": role, "content": "", "tool_calls": self._calls(turn.get("value"), where)})
            else:
                messages.append({"role": role, "content": self.text(turn.get("value"), f"{where}.value")})
        return messages

    def alpaca(self, values: dict[str, Any]) -> list[dict[str, Any]]:
        messages = self._system(values)
        history = self._json(values.get("history") or [], "history")
        for index, pair in enumerate(history if isinstance(history, list) else [history]):
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise self.wrong(f"history[{index}] isn't a pair", "Write history as [[question, answer], ...].")
            messages += self._pair(pair[0], pair[1], f"history[{index}][0]", f"history[{index}][1]")
        asked = self.text(values["instruction"], "instruction")
        if values.get("input"):
            asked += "\n" + self.text(values["input"], "input")
        return messages + self._pair(asked, values["output"], "instruction", "output")

    def completion(self, values: dict[str, Any]) -> list[dict[str, Any]]:
        prompt, completion = values["prompt"], values["completion"]
        if isinstance(prompt, list) and isinstance(completion, list):
            return self._messages(prompt, "prompt") + self._messages(completion, "completion")
        return self._system(values) + self._pair(prompt, completion, "prompt", "completion")

    def answer(self, values: dict[str, Any]) -> list[dict[str, Any]]:
        key = "prompt" if "prompt" in values else "question"
        return self._system(values) + self._pair(values[key], values["answer"], key, "answer")

    def tools(self, value: Any) -> list[dict[str, Any]] | None:
        """Tools as `[{"type": "function", "function": {...}}]`; given so, without the wrapping, or as JSON text."""
        tools = self._json(value, "tools") if value else None
        if not tools:
            return None
        found = []
        for index, tool in enumerate(self._objects(tools, "tools")):
            function = tool.get("function", tool)
            if not isinstance(function, dict) or not isinstance(function.get("name"), str):
                raise self.wrong(f"tools[{index}] has no name", 'Give {"name": ..., "parameters": {...}}.')
            found.append({"type": "function", "function": function})
        return found

    def text(self, value: Any, where: str) -> str:
        """A text that says something. Raises InputError otherwise."""
        if not isinstance(value, str):
            raise self.wrong(f"{where} isn't a text", "Give a string.")
        if not value.strip():
            raise self.wrong(f"{where} is empty", "Fill it in, or take the row out.")
        return value

    def _pair(self, asked: Any, said: Any, ask_key: str, say_key: str) -> list[dict[str, Any]]:
        return [
            {"role": "user", "content": self.text(asked, ask_key)},
            {"role": "assistant", "content": self.text(said, say_key)},
        ]

    def _system(self, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        system = values.get("system")
        return [{"role": "system", "content": self.text(system, "system")}] if system else []

    def _messages(self, value: Any, key: str) -> list[dict[str, Any]]:
        messages = self._objects(self._json(value, key), key)
        return [self._message(message, f"{key}[{i}]") for i, message in enumerate(messages)]

    def _message(self, message: Mapping[str, Any], where: str) -> dict[str, Any]:
        role = self._role(message.get("role"), f"{where}.role", "openai")
        known = {k: v for k, v in message.items() if v is not None and k not in _HANDLED}
        read = {"role": role, **known, **self._content(message.get("content"), f"{where}.content")}
        calls = list(read.pop("calls", []))
        if message.get("tool_calls"):
            calls += self._calls(message["tool_calls"], where)
        if message.get("function_call"):
            calls += self._calls([message["function_call"]], where)
        if calls:
            read["tool_calls"] = calls
        if calls and role != "assistant":
            raise self.wrong(f"{where} calls a tool, and its role is {role}", "Only the assistant calls tools.")
        if not calls and role != "tool" and not read["content"].strip():
            raise self.wrong(f"{where}.content is empty", "Fill it in, or take the row out.")
        weight = message.get("weight", message.get("loss_weight"))
        if weight is not None and role == "assistant":
            if weight not in (0, 1):
                raise self.wrong(f"{where} has the weight {weight!r}", "Use 0 or 1: a turn counts or it doesn't.")
            read["weight"] = int(weight)
        return read

    def _content(self, value: Any, where: str) -> dict[str, Any]:
        """Content as one text; parts are joined, a part of reasoning or a tool call is put where templates read it."""
        if value is None:
            return {"content": ""}
        if isinstance(value, str):
            return {"content": value}
        texts: list[str] = []
        read: dict[str, Any] = {}
        for index, part in enumerate(self._objects(value, where)):
            kind, place = part.get("type"), f"{where}[{index}]"
            inner = part.get("text", part.get("value"))
            if kind == "text" and isinstance(inner, str):
                texts.append(inner)
            elif kind == "reasoning" and isinstance(inner, str):
                read["reasoning_content"] = read.get("reasoning_content", "") + inner
            elif kind == "tool_call" and inner is not None:
                read.setdefault("calls", []).extend(self._calls(inner, place))
            else:
                raise self.wrong(f"{place} is of type {kind!r}", "Only text can be trained on here.")
        return {"content": "".join(texts), **read}

    def _calls(self, value: Any, where: str) -> list[dict[str, Any]]:
        """Tool calls as `[{"type": "function", "function": {"name", "arguments": object}}]`."""
        calls = self._json(value, where)
        found = []
        for call in self._objects(calls if isinstance(calls, list) else [calls], where):
            function = call.get("function", call)
            if not isinstance(function, dict) or not isinstance(function.get("name"), str):
                raise self.wrong(f"{where}: a tool call without a name", 'Give {"name": ..., "arguments": {...}}.')
            arguments = self._json(function.get("arguments", {}), f"{where}: arguments of {function['name']}")
            rest = {k: v for k, v in call.items() if k == "id" and v is not None}
            found.append({"type": "function", **rest, "function": {"name": function["name"], "arguments": arguments}})
        return found

    def _role(self, value: Any, where: str, form: Form) -> str:
        if value not in _ASKED[form]:
            raise self.wrong(f"{where} is {value!r}", f"Use one of {', '.join(_ASKED[form])}.")
        return _ROLES[value]

    def _json(self, value: Any, where: str) -> Any:
        """A value that may have been written as JSON text."""
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            raise self.wrong(f"{where} isn't JSON: {error}", "Repair it.") from error

    def _objects(self, value: Any, where: str) -> list[dict[str, Any]]:
        if not isinstance(value, list) or not value or not all(isinstance(v, dict) for v in value):
            raise self.wrong(f"{where} isn't a list of objects", "Give [{...}, ...], with at least one in it.")
        return value


_HANDLED = ("role", "content", "tool_calls", "function_call", "weight", "loss_weight")


def _has(values: Mapping[str, Any], key: str) -> bool:
    return any(name in values for name in key.split("|"))
