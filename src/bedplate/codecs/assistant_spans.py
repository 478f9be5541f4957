"""What in a rendered conversation the assistant has to write: its content and tool calls, and the end of its turn.

Where the template says it (`{% generation %}`), that counts. Otherwise it follows from what a model is given and asked:
turn i begins where the prompt for it ends, the earlier messages with the generation prompt, and ends where the text of
the messages up to it ends. Both are rendered and must be found at the head of the whole text. A template that writes
earlier turns differently once later ones follow (most that drop old reasoning do) is refused, since no one text then
shows what the model is to write in each turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bedplate.codecs.chat import Rendering, unused_characters
from bedplate.codecs.guarded import Span, any_of
from bedplate.errors import InputError

_REWRITTEN = (
    "Train on one row for each turn (bedplate.data.conversations.split_turns, with supervise='last'), or give the "
    "model a chat template that marks what the assistant writes with {% generation %}."
)


@dataclass(frozen=True)
class Turns:
    """A conversation's rendering as `text`, and the tokens that may end a turn."""

    rendering: Rendering
    text: str
    add_generation_prompt: bool
    markers: tuple[str, ...]

    def spans(self, wanted: Sequence[int]) -> list[Span]:
        """Characters (start, end) that the assistant writes in the turns with these indices among the messages.

        Raises InputError, naming the message, where the template doesn't let it be told or leaves out what the
        assistant says.
        """
        if not wanted:
            return []
        if self.rendering.has_generation:
            return self._marked(wanted)
        spans = [(self._begin(i), self._end(i)) for i in wanted]
        for i, (begin, end) in zip(wanted, spans, strict=True):
            said = self.text[begin:end]
            self._check_header(i, begin, said)
            self._check_written(i, said)
            self._check_ended(i, said)
        return spans

    def _marked(self, wanted: Sequence[int]) -> list[Span]:
        spans = self.rendering.generation_spans(self.text, add_generation_prompt=self.add_generation_prompt)
        said = "".join(self.text[a:b] for a, b in spans)
        for i in wanted:
            self._check_written(i, said)
        assistants = [i for i, m in enumerate(self.rendering.messages) if m.get("role") == "assistant"]
        if list(wanted) == assistants:
            return spans
        begins = {i: self._begin(i) for i in assistants if i >= wanted[0]}
        turn_of = [max((i for i, at in begins.items() if at <= begin), default=-1) for begin, _ in spans]
        return [span for i, span in zip(turn_of, spans, strict=True) if i in wanted]

    def _begin(self, index: int) -> int:
        if index == 0:
            return self._begin_of_first()
        prompt = self.rendering.text(index, add_generation_prompt=True)
        if not self.text.startswith(prompt):
            self._explain_difference(index, prompt)
        return len(prompt)

    def _begin_of_first(self) -> int:
        """Of a turn that nothing comes before: after the generation prompt, wherever the template has put it."""
        message = self.rendering.messages[0]
        other = self.rendering.with_message(0, {**message, "content": unused_characters(1, self.text)[0]}).text()
        before_content = self.text[: _common(self.text, other)]
        at = before_content.rfind(self._header)
        if not self._header or at < 0:
            raise InputError(
                "messages[0] is the assistant's, and the chat template doesn't show where such a turn begins",
                "Put a user's message before it.",
            )
        return at + len(self._header)

    @cached_property
    def _header(self) -> str:
        """What the template adds to ask for the assistant's turn; empty where it adds nothing."""
        whole = self.rendering.text() if self.add_generation_prompt else self.text
        asked = self.text if self.add_generation_prompt else self.rendering.text(add_generation_prompt=True)
        return asked[len(whole) :] if asked.startswith(whole) else ""

    def _end(self, index: int) -> int:
        last = index == len(self.rendering.messages) - 1
        if last and not self.add_generation_prompt:
            return self._trimmed(len(self.text))
        alone = self.rendering.text(index + 1)
        common = _common(alone, self.text)
        if common < len(alone):
            # Some templates end every conversation with a token of its own; nothing else may differ.
            ended = (m.start() for m in any_of(self.markers).finditer(alone) if m.end() > common)
            common = min(common, next(ended, common))
            if self._words(alone[common:]) or not alone[:common].rstrip().endswith(self.markers):
                raise InputError(
                    f"the chat template writes messages[{index}] differently when messages[{index + 1}] follows: "
                    f"{_excerpt(alone, common)} becomes {_excerpt(self.text, common)}",
                    _REWRITTEN,
                )
        return self._trimmed(common)

    def _trimmed(self, end: int) -> int:
        """Without the whitespace that the template, and not the model, writes after the token that ends a turn."""
        head = self.text[:end].rstrip()
        return len(head) if self.markers and head.endswith(self.markers) else end

    def _explain_difference(self, index: int, prompt: str) -> None:
        history = self.rendering.text(index)
        if self.text.startswith(history):
            at = _common(self.text, prompt)
            raise InputError(
                f"the chat template asks for messages[{index}] with {_excerpt(prompt, at)} and then writes "
                f"{_excerpt(self.text, at)}",
                "Give the model a chat template whose generation prompt is what it writes before the assistant's turns,"
                " or one that marks what the assistant writes with {% generation %}.",
            )
        at = _common(self.text, history)
        raise InputError(
            f"the chat template writes what comes before messages[{index}] differently when that or later messages "
            f"follow: {_excerpt(history, at)} becomes {_excerpt(self.text, at)}",
            _REWRITTEN,
        )

    def _check_header(self, index: int, begin: int, said: str) -> None:
        """Nothing that tells whose turn it is may be among what the assistant says."""
        message = self.rendering.messages[index]
        content = message.get("content")
        core = content.strip() if isinstance(content, str) else ""
        silent = "add_generation_prompt" not in self.rendering.template  # then any header would be taken for content
        if silent and core and not message.get("reasoning_content"):
            header = not said.lstrip().startswith(core)
        else:
            suspect = said.startswith(self.markers) and not core.startswith(self.markers)
            header = suspect and bool(self._header) and said.startswith(self._header)
        if header:
            raise InputError(
                f"the chat template writes {_excerpt(self.text, begin)} for messages[{index}], and its prompt for that "
                "turn ends before this header",
                "Give the model a chat template that writes it with {% if add_generation_prompt %}, or that marks what "
                "the assistant writes with {% generation %}.",
            )

    def _check_ended(self, index: int, said: str) -> None:
        content = self.rendering.messages[index].get("content")
        core = content.strip() if isinstance(content, str) else ""
        ends = bool(core) and said.endswith(core) and core not in said[: -len(core)]
        if ends and not core.endswith(self.markers):
            raise InputError(
                f"the chat template writes nothing that ends messages[{index}], so the model wouldn't learn to stop",
                "Give the model a chat template that ends the assistant's turns with a token, such as EOS.",
            )

    def _check_written(self, index: int, said: str) -> None:
        message = self.rendering.messages[index]
        for name in call_names(message):
            if name not in said:
                raise InputError(
                    f"the chat template leaves out the tool call {name!r} of messages[{index}]",
                    "Use a model whose chat template writes tool calls, or write the call into the content.",
                )
        reasoning = message.get("reasoning_content")
        if isinstance(reasoning, str) and reasoning.strip() not in said:
            raise InputError(
                f"the chat template leaves out the reasoning of messages[{index}]",
                "Use a model whose chat template writes it there, take it out, or write it into the content.",
            )
        content = message.get("content")
        if isinstance(content, str) and self._words(content) and not self._words(said):
            raise InputError(
                f"the chat template leaves out the content of messages[{index}]",
                "Use a model whose chat template writes it.",
            )

    def _words(self, text: str) -> str:
        """What is left of a text without added tokens and outer whitespace."""
        return any_of(self.markers).sub("", text).strip()


def call_names(message: dict[str, Any]) -> list[str]:
    """The names of the functions that a message calls, in OpenAI's form or without its wrapping."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return []
    functions = [call.get("function", call) for call in calls if isinstance(call, dict)]
    return [f["name"] for f in functions if isinstance(f, dict) and isinstance(f.get("name"), str)]


def _common(a: str, b: str) -> int:
    """How many characters two texts have in common at their heads."""
    if b.startswith(a):
        return len(a)
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _excerpt(text: str, at: int) -> str:
    return repr(text[at : at + 40] + ("..." if len(text) > at + 40 else ""))
