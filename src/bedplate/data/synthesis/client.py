"""`ChatClient`: chat completions from an OpenAI-compatible server, by the standard library alone.

Tries again what may pass, as long as it is told or twice as long each time; follows no redirects, so that the key goes
nowhere else, and hides the key in whatever an error quotes.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import time
import urllib.error
import urllib.request
from contextlib import closing
from typing import Any

from bedplate.data.synthesis.asking import Answer, Request
from bedplate.data.synthesis.config import ServedModel
from bedplate.errors import UserError

PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
HOPELESS = frozenset({401, 403, 404, 405})
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
MOST_BYTES = 64 << 20


class ServedError(UserError):
    """A request that came to nothing. hopeless: no other request would do better. reason: a short word for counts."""

    def __init__(self, problem: str, fix: str, reason: str, *, hopeless: bool = False) -> None:
        super().__init__(problem, fix)
        self.reason, self.hopeless = reason, hopeless


class ChatClient:
    """May be used by several threads at once."""

    def __init__(self, config: ServedModel, *, temperature: float, max_tokens: int) -> None:
        self._config = config
        self._url = config.url.rstrip("/") + "/chat/completions"
        self._fixed = {"model": config.model, "temperature": temperature}
        self._limit, self._limit_name = max_tokens, "max_tokens"
        self._opener = urllib.request.build_opener(_NoRedirects)

    def ask(self, request: Request) -> Answer:
        """The answer. Raises ServedError."""
        tries = self._config.retries + 1
        for attempt in range(tries):
            try:
                return self._answer(self._post(request))
            except _PassingError as error:
                wait = min(FIRST_WAIT_S * 2**attempt, LONGEST_WAIT_S) * random.uniform(0.75, 1.25)
                wait = error.wait if error.wait is not None else wait
                if attempt + 1 == tries or wait > LONGEST_WAIT_S:
                    raise ServedError(
                        f"{self._url}: {self._hidden(error.problem)} (tries: {attempt + 1})",
                        "Check that the server runs and is called endpoint.url, then run the same command again.",
                        error.reason,
                        hopeless=error.reason == "unreachable",
                    ) from error
                time.sleep(wait)
        raise AssertionError("unreachable")

    def _post(self, request: Request) -> bytes:
        body = self._fixed | {"messages": request.openai(), "seed": request.seed, self._limit_name: self._limit}
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._config.key is not None:
            headers["Authorization"] = f"Bearer {self._key()}"
        sent = urllib.request.Request(self._url, data=json.dumps(body).encode(), headers=headers)
        deadline = time.monotonic() + self._config.timeout
        try:
            with closing(self._opener.open(sent, timeout=self._config.timeout)) as response:
                return _read(response, deadline)
        except urllib.error.HTTPError as error:
            with closing(error):
                said = self._hidden(error.read(1 << 16).decode("utf-8", "replace"))[:300]
                after = error.headers.get("Retry-After") or ""
            if error.code in PASSING:
                wait = float(after) if after.isdecimal() else None
                raise _PassingError(f"answered {error.code}: {said}", f"status_{error.code}", wait) from error
            if error.code == 400 and "max_completion_tokens" in said and self._limit_name == "max_tokens":
                self._limit_name = "max_completion_tokens"  # as newer models want it called
                return self._post(request)
            raise ServedError(
                f"{self._url}: answered {error.code}: {said}",
                "Check endpoint.url (it ends in /v1 for most servers), endpoint.model and endpoint.key.",
                f"status_{error.code}",
                hopeless=error.code in HOPELESS or 300 <= error.code < 400,
            ) from error
        except TimeoutError as error:
            raise _PassingError("timed out (endpoint.timeout)", "timeout") from error
        except (OSError, http.client.HTTPException) as error:
            cause = error.reason if isinstance(error, urllib.error.URLError) else error
            if isinstance(cause, TimeoutError):
                raise _PassingError("timed out (endpoint.timeout)", "timeout") from error
            reason = "unreachable" if isinstance(cause, ConnectionRefusedError) else "connection"
            raise _PassingError(str(cause) or type(cause).__name__, reason) from error

    def _answer(self, raw: bytes) -> Answer:
        try:
            reply: dict[str, Any] = json.loads(raw)
            choice = reply["choices"][0]
            text = choice["message"]["content"] or ""
            if not isinstance(text, str):
                raise TypeError("content isn't a text")
            usage = reply.get("usage") or {}
            counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            raise ServedError(
                f"{self._url}: the answer isn't that of an OpenAI-compatible server: "
                f"{self._hidden(raw.decode('utf-8', 'replace'))[:200]!r}",
                "Check endpoint.url: it ends in /v1 for most servers.",
                "strange_answer",
            ) from error
        read, written = (count if isinstance(count, int) else None for count in counts)
        # A half of a surrogate pair can be spelled in JSON and is no text.
        text = self._hidden(text).encode("utf-8", "replace").decode("utf-8")
        return Answer(text, choice.get("finish_reason") == "length", read, written)

    def _key(self) -> str:
        key = os.environ.get(self._config.key or "", "").strip()
        if not key or not key.isascii() or not key.isprintable():
            raise ServedError(
                f"the environment variable {self._config.key}, which endpoint.key names, holds no key",
                "Set it to the key alone.",
                "no_key",
                hopeless=True,
            )
        return key

    def _hidden(self, text: str) -> str:
        key = os.environ.get(self._config.key or "", "").strip()
        return text.replace(key, "***") if len(key) >= 8 else text


class _PassingError(Exception):
    """What another try may change. wait: seconds that the server asks for."""

    def __init__(self, problem: str, reason: str, wait: float | None = None) -> None:
        super().__init__(problem)
        self.problem, self.reason, self.wait = problem, reason, wait


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _read(response: Any, deadline: float) -> bytes:
    """The whole body. A socket's timeout is for each piece; the deadline is for all of them."""
    pieces, size = [], 0
    while piece := response.read1(1 << 16):
        pieces.append(piece)
        size += len(piece)
        if size > MOST_BYTES:
            raise _PassingError(f"more than {MOST_BYTES >> 20} MiB", "too_large")
        if time.monotonic() > deadline:
            raise TimeoutError
    return b"".join(pieces)
