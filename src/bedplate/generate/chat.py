"""`bedplate chat`: a conversation at the terminal. What the model says goes to stdout, everything else to stderr."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from bedplate.config.randomness import fold_in
from bedplate.console import Console
from bedplate.errors import InputError, UserError
from bedplate.generate.generation import Generation
from bedplate.generate.model import TextModel, load_text
from bedplate.generate.params import SamplingParams, params_from

COMMANDS = {
    "/system TEXT": "another system message, and a new conversation; without TEXT none",
    "/reset": "a new conversation",
    "/help": "this list",
    "/exit": "leave, as Ctrl-D does",
}

OWN = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
"""What a model's generation_config.json may say about sampling."""

# A model's text could move the cursor or retitle the window: control characters are shown, not obeyed.
_CONTROLS = (
    {c: 0x2400 + c for c in range(0x20) if chr(c) not in "\n\t"} | {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0))
)


def chat(
    path: str | Path,
    *,
    system: str | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    max_tokens: int = 512,
    seed: int | None = None,
    raw: bool = False,
    prompt: str | None = None,
    dtype: str | None = None,
    device: str = "auto",
    console: Console | None = None,
) -> int:
    """Talk to the model at `path`, by its own chat template, until the input ends; the exit code.

    prompt: one question, one answer, and done. raw: no template, the model continues each text. temperature and
    top_p: where None, what the model's generation_config.json says, else 0.7 and 0.95. seed: the n-th answer of a
    conversation can be had again. Input that isn't a terminal is read as one message a line.

    Ctrl-C stops an answer without leaving. Raises UserError where the model has no chat template and raw isn't set.
    """
    model = load_text(path, dtype=dtype, device=device)
    return talk(
        model,
        path,
        system=system,
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_tokens,
        seed=seed,
        raw=raw,
        prompt=prompt,
        console=console or Console(),
    )


def talk(
    model: TextModel,
    path: str | Path,
    *,
    system: str | None,
    temperature: float | None,
    top_p: float | None,
    max_tokens: int,
    seed: int | None,
    raw: bool,
    prompt: str | None,
    console: Console,
) -> int:
    """`chat` with a model that is loaded already; path: what messages call it."""
    if model.tokenizer is None:
        raise UserError(f"{path}: no tokenizer, so there is nothing to talk in", "Add the model's tokenizer.json.")
    if not raw and model.tokenizer.chat_template is None:
        raise UserError(
            f"{path}: no chat template, as in base models, which only continue text",
            "Let it continue what you write: --raw",
        )
    if raw and system is not None:
        raise UserError("a system message needs the chat template, which --raw leaves out", "Give one or the other.")
    params = _params(model, temperature, top_p, max_tokens, seed)
    conversation = Conversation(model, params, system=system, raw=raw, console=console)
    return converse(conversation, console, prompt)


class Talker(Protocol):
    """What `converse` needs of who answers."""

    raw: bool
    system: str | None

    def reset(self, system: str | None) -> None: ...

    def answer(self, message: str) -> Generator[str, None, None]: ...


class Conversation:
    """The messages so far, and how they are put to the model."""

    def __init__(
        self, model: TextModel, params: SamplingParams, *, system: str | None, raw: bool, console: Console
    ) -> None:
        self.model, self.params, self.raw = model, params, raw
        self._console = console
        self.reset(system)

    def reset(self, system: str | None) -> None:
        """Forget everything but the system message."""
        self.system = system
        self._turns: list[tuple[str, str]] = []
        self._answers = 0

    def answer(self, message: str) -> Generator[str, None, None]:
        """The answer's pieces. It is remembered as far as it came, also when the generator is closed early."""
        prompt = message if self.raw else self._fitting(message)
        pieces: list[str] = []
        try:
            generation = yield from _recorded(self.model.stream(prompt, self._next_params()), pieces)
            if generation.finish_reason == "length":
                self._say_cut(generation)
        finally:
            if pieces and not self.raw:
                self._turns.append((message, "".join(pieces)))

    def _say_cut(self, generation: Generation) -> None:
        context = self.model.config.max_position_embeddings
        if generation.usage.total_tokens >= context:
            self._console.say(f"(cut off: the model's context of {context} tokens is full)")
        else:
            self._console.say(f"(cut off after {self.params.max_tokens} tokens: --max-tokens allows more)")

    def _next_params(self) -> SamplingParams:
        if self.params.seed is None:
            return self.params
        self._answers += 1
        return replace(self.params, seed=fold_in(self.params.seed, "answer", self._answers))

    def _fitting(self, message: str) -> list[int]:
        """The prompt's tokens, the oldest turns forgotten until there is room for an answer."""
        context = self.model.config.max_position_embeddings
        reserve = min(self.params.max_tokens, context // 4)
        tokens = self.model.chat_prompt(self._messages(message))
        forgotten = 0
        while len(tokens) + reserve > context and self._turns:
            self._turns.pop(0)
            forgotten += 1
            tokens = self.model.chat_prompt(self._messages(message))
        if forgotten:
            self._console.warn(f"the conversation outgrew the model's {context} tokens; turns forgotten: {forgotten}")
        if len(tokens) >= context:
            raise InputError(
                f"the message makes {len(tokens)} tokens and the model's context is {context}", "Say it more briefly."
            )
        return tokens

    def _messages(self, message: str) -> list[dict[str, str]]:
        messages = [] if self.system is None else [{"role": "system", "content": self.system}]
        for question, answer in self._turns:
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return [*messages, {"role": "user", "content": message}]


def _recorded(pieces: Generator[str, None, Generation], record: list[str]) -> Generator[str, None, Generation]:
    """The same pieces and the same return value, each piece also put on record."""
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            generation: Generation = end.value
            return generation
        record.append(piece)
        yield piece


def _params(
    model: TextModel, temperature: float | None, top_p: float | None, max_tokens: int, seed: int | None
) -> SamplingParams:
    own = {k: v for k in OWN if (v := model.generation.get(k)) is not None}
    if model.generation.get("do_sample") is False:
        own["temperature"] = 0.0
    options = {"temperature": 0.7, "top_p": 0.95} | own | {"max_tokens": max_tokens, "seed": seed}
    options |= {k: v for k, v in (("temperature", temperature), ("top_p", top_p)) if v is not None}
    return params_from(options)


def converse(conversation: Talker, console: Console, prompt: str | None = None) -> int:
    """Answer what is typed or piped in until it ends, or `prompt` alone where given; the exit code."""
    if prompt is not None:
        _show(conversation.answer(prompt))
        return 0
    terminal = sys.stdin.isatty()
    if terminal:
        console.say("Ctrl-D leaves, Ctrl-C stops an answer, /help lists the commands.")
    for line in _typed(console) if terminal else _piped():
        if not line.strip():
            continue
        if line.startswith("/") and _command(line, conversation, console):
            continue
        if line.strip() == "/exit":
            break
        answer = conversation.answer(line)
        try:
            _show(answer)
        except KeyboardInterrupt:
            if not terminal:
                raise
            answer.close()
            print(flush=True)
            console.say("(stopped)")
        except UserError as error:
            if not terminal:
                raise
            console.warn(str(error))
    return 0


def _command(line: str, conversation: Talker, console: Console) -> bool:
    """Carry out a command; whether there was one to carry out."""
    name, _, argument = line.strip().partition(" ")
    if name == "/reset" or (name == "/system" and not conversation.raw):
        conversation.reset(conversation.system if name == "/reset" else argument.strip() or None)
        console.say("(a new conversation)")
        return True
    if name == "/help":
        for command, what in COMMANDS.items():
            console.say(f"{command:14}{what}")
        return True
    return False


def _show(pieces: Iterator[str]) -> None:
    visible = sys.stdout.isatty()
    for piece in pieces:
        sys.stdout.write(piece.translate(_CONTROLS) if visible else piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    sys.stdout.flush()


def _typed(console: Console) -> Iterator[str]:
    """Lines from a person at the terminal. Ctrl-C at the prompt only drops the line."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (gives input() editing and history)
    while True:
        try:
            if sys.stdout.isatty():
                yield input("> ")
            else:  # input() would write its prompt into the answers
                sys.stderr.write("> ")
                sys.stderr.flush()
                line = sys.stdin.readline()
                if not line:
                    return
                yield line.rstrip("\n")
        except KeyboardInterrupt:
            sys.stderr.write("\n")
            console.say("(Ctrl-D or /exit leaves)")
        except EOFError:
            sys.stderr.write("\n")
            return


def _piped() -> Iterator[str]:
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputError(f"stdin line {number} isn't UTF-8", "Convert it, e.g. with iconv.") from error
