"""`ChatClient`: chat completions from an OpenAI-compatible server."""

from __future__ import annotations

from typing import Any

from bedplate.data.synthesis.asking import Answer, Request
from bedplate.data.synthesis.config import ServedModel
from bedplate.errors import UserError
from bedplate.generate.endpoint_http import EndpointError, Transport

PATH = "chat/completions"
_HOPELESS = frozenset(
    {"status_401", "status_403", "status_404", "status_405", "redirect", "unreachable", "no_key"}
)  # fmt: skip


class ServedError(UserError):
    """A request that came to nothing. hopeless: no other request would do better. reason: a short word for counts."""

    def __init__(self, problem: str, fix: str | None, reason: str) -> None:
        super().__init__(problem, fix)
        self.reason, self.hopeless = reason, reason in _HOPELESS


class ChatClient:
    """May be used by several threads at once. Raises RecipeError for a URL that can't be a server's."""

    def __init__(self, config: ServedModel, *, temperature: float, max_tokens: int) -> None:
        self._http = Transport(config.url, key=config.key, timeout=config.timeout, retries=config.retries)
        self._fixed = {"model": config.model, "temperature": temperature}
        self._limit, self._limit_name = max_tokens, "max_tokens"

    def ask(self, request: Request) -> Answer:
        """The answer. Raises ServedError."""
        body = self._fixed | {"messages": request.openai(), "seed": request.seed, self._limit_name: self._limit}
        try:
            return self._answer(self._http.post(PATH, body))
        except EndpointError as error:
            if error.status in (400, 422) and "max_completion_tokens" in error.problem and "max_tokens" in body:
                self._limit_name = "max_completion_tokens"  # as newer models want it called
                return self.ask(request)
            raise ServedError(error.problem, error.fix, error.reason) from error

    def _answer(self, reply: dict[str, Any]) -> Answer:
        try:
            choice = reply["choices"][0]
            text = choice["message"]["content"] or ""
            if not isinstance(text, str):
                raise TypeError("content isn't a text")
            usage = reply.get("usage") or {}
            counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
            cut = choice.get("finish_reason") == "length"
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ServedError(
                f"{self._http.shown}/{PATH}: the answer isn't that of an OpenAI-compatible server: {error!r}",
                "Check endpoint.url: it ends in /v1 for most servers.",
                "strange_answer",
            ) from error
        read, written = (count if isinstance(count, int) else None for count in counts)
        # A half of a surrogate pair can be spelled in JSON and is no text.
        return Answer(text.encode("utf-8", "replace").decode("utf-8"), cut, read, written)
