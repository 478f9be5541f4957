"""`EndpointBase`: any OpenAI-compatible server as what ways build on: it is asked, streamed from, and paid."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from bedplate.adapt.face import Answer, Message
from bedplate.adapt.ways import EndpointConfig
from bedplate.generate.endpoint_http import EndpointError, Transport
from bedplate.generate.generation import FinishReason, Usage
from bedplate.generate.params import SamplingParams


@dataclass(frozen=True)
class Spent:
    """What has been asked so far. unknown: replies that didn't say their usage, which the tokens therefore lack."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unknown: int = 0

    def __sub__(self, earlier: Spent) -> Spent:
        """What has been asked since."""
        return Spent(
            self.requests - earlier.requests,
            self.prompt_tokens - earlier.prompt_tokens,
            self.completion_tokens - earlier.completion_tokens,
            self.unknown - earlier.unknown,
        )


@dataclass
class Bill:
    """What several endpoints were asked together."""

    spent: Spent = Spent()
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, usage: Usage | None) -> None:
        """One reply more; None where it didn't say."""
        with self._lock:
            s = self.spent
            self.spent = Spent(
                s.requests + 1,
                s.prompt_tokens + (usage.prompt_tokens if usage else 0),
                s.completion_tokens + (usage.completion_tokens if usage else 0),
                s.unknown + (usage is None),
            )


_bill: ContextVar[Bill | None] = ContextVar("_bill", default=None)


@contextmanager
def billed() -> Iterator[Bill]:
    """What is asked of every endpoint that is made inside: fitting makes its own, and so does what it opens."""
    bill = Bill()
    token = _bill.set(bill)
    try:
        yield bill
    finally:
        _bill.reset(token)


@dataclass(frozen=True)
class Echo:
    """Log-probabilities of a text's tokens, in nats: of those from character `start` on. tokens: of the whole text."""

    logprobs: tuple[float, ...]
    tokens: int


class EndpointBase:
    """Several conversations are put at once, as `config.concurrency` allows. Errors name the URL and what to do."""

    def __init__(self, config: EndpointConfig) -> None:
        self.config = config
        self.name = config.model
        self._own, self._shared = Bill(), _bill.get()
        self._http = Transport(config.url, key=config.key, timeout=config.timeout, retries=config.retries)
        self._limit_name = "max_tokens"
        self._stream_options = True

    @property
    def spent(self) -> Spent:
        """What this one has been asked so far."""
        return self._own.spent

    def generate(self, messages: Sequence[Message], params: SamplingParams | None = None) -> Answer:
        """Raises EndpointError (a UserError)."""
        reply = self._ask("chat/completions", {"messages": [dict(m) for m in messages]}, params or SamplingParams())
        usage = self._count(reply)
        choice = self._choice(reply, "chat/completions")
        message = choice.get("message")
        text = message.get("content") if isinstance(message, dict) else None
        if not isinstance(text, str | None):
            raise self._strange("chat/completions", "choices[0].message.content isn't a text")
        return Answer(text or "", usage, finish_reason=_finish(choice))

    def generate_many(
        self, conversations: Sequence[Sequence[Message]], params: SamplingParams | None = None
    ) -> list[Answer]:
        """The answers in order. The first error ends it; requests that wait then are dropped."""
        return self._together(lambda messages: self.generate(messages, params), conversations)

    def stream(self, messages: Sequence[Message], params: SamplingParams | None = None) -> Generator[str, None, Answer]:
        body = {"messages": [dict(m) for m in messages], "stream": True}
        pieces: list[str] = []
        finish: FinishReason = "stop"
        last: Mapping[str, Any] = {}
        events = self._events(body, params or SamplingParams())
        try:
            with closing(events):  # whoever leaves early ends the request there too
                for event in events:
                    if event.get("usage"):
                        last = event
                    choices = event.get("choices")
                    if not choices or not isinstance(choices, list) or not isinstance(choices[0], dict):
                        continue
                    finish = _finish(choices[0])
                    piece = (choices[0].get("delta") or {}).get("content")
                    if isinstance(piece, str) and piece:
                        pieces.append(piece)
                        yield piece
        finally:  # a stream that is broken off was paid for too; what for, nobody says
            usage = self._count(last)
        return Answer("".join(pieces), usage, finish_reason=finish)

    def echo(self, texts: Sequence[str], starts: Sequence[int]) -> list[Echo]:
        """How likely the model finds each text from its character `start` on, by /v1/completions with `echo`.

        Raises EndpointError where the server doesn't do that, as many don't.
        """
        return self._together(lambda pair: self._echoed(*pair), list(zip(texts, starts, strict=True)))

    def echoes(self) -> bool:
        """Whether `echo` works there: tried once with a short text. Raises EndpointError for a server that is down or
        that refuses the key."""
        try:
            return len(self._echoed("The sky is blue", 10).logprobs) > 0
        except EndpointError as error:
            if error.status in (None, 401, 403, 429) and not isinstance(error, _StrangeError):
                raise
            return False

    def cost(self, usage: Usage) -> float:
        """What a request costs at the recipe's prices."""
        paid = usage.prompt_tokens * self.config.prompt_price + usage.completion_tokens * self.config.completion_price
        return paid / 1e6

    def _echoed(self, text: str, start: int) -> Echo:
        path = "completions"
        # One token is asked for: servers differ on whether they allow none. It lies beyond the text's end.
        reply = self._ask(path, {"prompt": text, "echo": True, "logprobs": 1}, SamplingParams(max_tokens=1))
        self._count(reply)
        logprobs = self._choice(reply, path).get("logprobs")
        if not isinstance(logprobs, dict):
            raise self._strange(path, "no choices[0].logprobs, so `echo` isn't supported")
        values, offsets = logprobs.get("token_logprobs"), logprobs.get("text_offset")
        if not isinstance(values, list) or not isinstance(offsets, list) or len(values) != len(offsets):
            raise self._strange(path, "choices[0].logprobs lacks token_logprobs or text_offset")
        pairs = [(v, o) for v, o in zip(values, offsets, strict=True) if isinstance(o, int) and o < len(text)]
        wanted = [v for v, o in pairs if o >= start]
        if not wanted or not all(isinstance(v, int | float) for v in wanted):
            raise self._strange(path, "the text isn't echoed with its log-probabilities")
        return Echo(tuple(float(v) for v in wanted), len(pairs))

    def _ask(self, path: str, body: dict[str, Any], params: SamplingParams) -> dict[str, Any]:
        sent = self._body(body, params)
        try:
            return self._http.post(path, sent)
        except EndpointError as error:
            if error.status == 404:
                raise self._unknown_model(error) from error
            if self._adapts(error, sent):
                return self._http.post(path, self._body(body, params))
            raise

    def _events(self, body: dict[str, Any], params: SamplingParams) -> Generator[dict[str, Any]]:
        """The events of a stream. Usage is asked for: without that, servers don't state it."""
        while True:
            options = {"stream_options": {"include_usage": True}} if self._stream_options else {}
            sent = self._body(body | options, params)
            with closing(self._http.events("chat/completions", sent)) as events:
                try:
                    first = next(events, None)
                except EndpointError as error:
                    if not self._adapts(error, sent):
                        raise
                    continue
                if first is not None:
                    yield first
                    yield from events
                return

    def _adapts(self, error: EndpointError, sent: Mapping[str, Any]) -> bool:
        """Whether the server says that it wants what was sent put otherwise, and the next one is. Another thread may
        have learnt it in the meantime."""
        if error.status not in (400, 422):
            return False
        if "max_completion_tokens" in error.problem and "max_tokens" in sent:
            self._limit_name = "max_completion_tokens"  # as newer models there want it called
            return True
        if "stream_options" in error.problem and "stream_options" in sent:
            self._stream_options = False  # as older servers don't know it
            return True
        return False

    def _body(self, body: dict[str, Any], params: SamplingParams) -> dict[str, Any]:
        """The request. What isn't in the OpenAI API is sent only where it was asked for: servers refuse what they don't
        know."""
        full = {"model": self.config.model, **body, self._limit_name: params.max_tokens}
        full["temperature"] = params.temperature
        if params.stop:
            full["stop"] = list(params.stop)
        usual = SamplingParams()
        for name in ("top_p", "seed", "top_k", "min_p", "repetition_penalty", "stop_token_ids", "ignore_eos"):
            value = getattr(params, name)
            if value != getattr(usual, name):
                full[name] = value
        return full

    def _choice(self, reply: Mapping[str, Any], path: str) -> dict[str, Any]:
        choices = reply.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise self._strange(path, "there are no choices in it")
        return choices[0]

    def _count(self, reply: Mapping[str, Any]) -> Usage:
        """The usage that a reply states, added to what was spent; zeros, counted as unknown, where it states none."""
        stated = reply.get("usage")
        stated = stated if isinstance(stated, dict) else {}
        read, written = stated.get("prompt_tokens"), stated.get("completion_tokens")
        usage = Usage(read, written) if isinstance(read, int) and isinstance(written, int) else None
        self._own.add(usage)
        if self._shared is not None:
            self._shared.add(usage)
        return usage or Usage(0, 0)

    def _unknown_model(self, error: EndpointError) -> EndpointError:
        """The error with the models that the server says it has."""
        try:
            listed = self._http.get("models").get("data")
            names = (
                [str(m["id"]) for m in listed if isinstance(m, dict) and "id" in m] if isinstance(listed, list) else []
            )
        except EndpointError:
            return error
        if not names or self.config.model in names:
            return error
        return EndpointError(
            f"{self._http.shown}: has no model {self.config.model!r}",
            f"Set endpoint.model to one that it has: {', '.join(names[:10])}{' ...' if len(names) > 10 else ''}.",
            status=404,
        )

    def _strange(self, path: str, what: str) -> _StrangeError:
        return _StrangeError(
            f"{self._http.shown}/{path}: the answer isn't that of an OpenAI-compatible server: {what}",
            "Check endpoint.url, and that this model can be asked this way.",
        )

    def _together(self, ask: Any, items: Sequence[Any]) -> list[Any]:
        if len(items) < 2:
            return [ask(item) for item in items]
        pool = ThreadPoolExecutor(min(self.config.concurrency, len(items)))
        try:
            return list(pool.map(ask, items))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _StrangeError(EndpointError):
    """A reply that can be read and doesn't hold what it should."""


def _finish(choice: Mapping[str, Any]) -> FinishReason:
    return "length" if choice.get("finish_reason") == "length" else "stop"
