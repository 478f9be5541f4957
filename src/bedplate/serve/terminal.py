"""`bedplate chat`: at the terminal with a model, or with anything made by adapting one; its citations go to stderr."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

from bedplate.adapt.face import Answer, Answerer, Citation, Message
from bedplate.config.randomness import fold_in
from bedplate.console import Console
from bedplate.errors import InputError, UserError
from bedplate.generate import chat as model_chat
from bedplate.generate.params import SamplingParams, params_from
from bedplate.serve.opening import is_adapted, streams_as_it_comes


def chat(
    path: str | Path,
    *,
    base: str | Path | None = None,
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
    """Talk to what lies at `path` until the input ends; the exit code.

    base: where the base of an adapted thing is now, a must where its folder names none. Everything else as in
    `bedplate.generate.chat.chat`; a thing that isn't a model itself answers greedily unless temperature is given.
    Raises UserError for a classifier, which has nothing to say.
    """
    console = console or Console()
    if not is_adapted(path):
        if base is not None:
            raise UserError(f"{path}: a model of its own, which has no base", "Leave the base out.")
        return model_chat.chat(
            path,
            system=system,
            temperature=temperature,
            top_p=top_p,
            max_tokens=max_tokens,
            seed=seed,
            raw=raw,
            prompt=prompt,
            dtype=dtype,
            device=device,
            console=console,
        )
    face = _answerer(path, base)
    if raw:
        raise UserError(f"{path}: --raw is for models; this puts what you write in its own way", "Leave it out.")
    given = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens, "seed": seed}
    params = params_from({name: value for name, value in given.items() if value is not None})
    return model_chat.converse(FaceConversation(face, params, system=system, console=console), console, prompt)


def _answerer(path: str | Path, base: str | Path | None) -> Answerer:
    from bedplate.adapt.opening import open_face

    face = open_face(path, base)
    if not isinstance(face, Answerer):
        raise UserError(
            f"{path}: it tells classes apart and doesn't answer",
            f"Serve it and ask /v1/classify: bedplate serve {path}",
        )
    return face


class FaceConversation:
    """The messages so far, and how they are put to a face."""

    raw = False

    def __init__(self, face: Answerer, params: SamplingParams, *, system: str | None, console: Console) -> None:
        self.face, self.params = face, params
        self._console = console
        self.reset(system)

    def reset(self, system: str | None) -> None:
        """Forget everything but the system message."""
        self.system = system
        self._turns: list[tuple[str, str]] = []
        self._answers = 0

    def answer(self, message: str) -> Generator[str, None, None]:
        """The answer's pieces; the citations are listed on the console."""
        answer = yield from self._answer(message)
        self._turns.append((message, answer.text))
        for citation in answer.citations:
            self._console.say(described(citation))
        if answer.finish_reason == "length":
            self._console.say(f"(cut off after {answer.usage.completion_tokens} tokens: --max-tokens allows more)")

    def _answer(self, message: str) -> Generator[str, None, Answer]:
        params = self._next_params()
        while True:
            messages = self._messages(message)
            try:
                if streams_as_it_comes(self.face):
                    prepared = self.face.prepare(messages)
                    answer = yield from self.face.base.stream(prepared.messages, params)
                    return self.face.finish(prepared, answer)
                answer = self.face.generate(messages, params)
                yield answer.text
                return answer
            except InputError:
                if not self._turns:
                    raise
                self._turns.pop(0)
                self._console.warn("the conversation outgrew the base's context; the oldest turn is forgotten")

    def _next_params(self) -> SamplingParams:
        if self.params.seed is None:
            return self.params
        self._answers += 1
        return replace(self.params, seed=fold_in(self.params.seed, "answer", self._answers))

    def _messages(self, message: str) -> list[Message]:
        messages: list[Message] = [] if self.system is None else [{"role": "system", "content": self.system}]
        for question, answer in self._turns:
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return [*messages, {"role": "user", "content": message}]


def described(citation: Citation) -> str:
    """A citation in one line: its number, where it stands, and how it begins."""
    title = f" ({citation.title})" if citation.title else ""
    words = " ".join(citation.text.split())
    shown = words if len(words) <= 80 else words[:79] + "…"
    return f"[{citation.number}] {citation.source}{title}, characters {citation.start}-{citation.end}: {shown}"
