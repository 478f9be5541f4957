"""JSON over HTTP to somebody else's server: tries again what may pass, waits as it is told, says what is wrong.

The key goes into one header and nowhere else: not into errors and answers, even where the server sends it back, and
never to another host (redirects are refused).
"""

from __future__ import annotations

import email.utils
import html
import http.client
import json
import os
import random
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bedplate.errors import RecipeError, UserError

PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Answers that another try may change."""
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 60.0
"""No wait between tries is longer; a server that asks for more is given up."""
MOST_BYTES = 64 * 2**20
"""Of one reply."""
MOST_SAID = 1 << 20
"""Bytes that are read of a refusal."""
LONGEST_SAID, LONGEST_SHOWN = 500, 200
"""Characters of a server's own message, and of what isn't JSON."""
FEWEST_SECRET = 8
"""Characters of a key that is hidden in answers too. A shorter one ("none", for servers that ask for no key) is a word
that answers may well hold."""
HIDDEN = "***"


class EndpointError(UserError):
    """What an endpoint refused or failed to do. status: of its answer; None where there was none, or a redirect.
    reason: one word, for counts: status_NNN, redirect, timeout, unreachable, connection, no_key, too_large,
    strange_answer."""

    def __init__(
        self, problem: str, fix: str | None = None, *, status: int | None = None, reason: str | None = None
    ) -> None:
        super().__init__(problem, fix)
        self.status = status
        self.reason = reason or ("strange_answer" if status is None else f"status_{status}")


@dataclass(frozen=True)
class _Failure:
    """One try that came to nothing. reason: as of EndpointError, where there is no status. wait: seconds that the
    server asks for. passing: whether another may do better."""

    what: str
    status: int | None = None
    reason: str | None = None
    wait: float | None = None
    passing: bool = True


class Transport:
    """Requests to one base URL. key: the environment variable that holds the key, read at each request.

    Raises RecipeError for a URL that isn't http or https, or that has a name and password in it.
    """

    def __init__(self, url: str, *, key: str | None, timeout: float, retries: int) -> None:
        parts = urllib.parse.urlsplit(url)
        self.shown = urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        """The URL as errors name it: without credentials."""
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RecipeError(
                f"endpoint.url {self.shown!r}: not the URL of a server", "Give one such as http://127.0.0.1:8000/v1."
            )
        if parts.username is not None or parts.query:
            raise RecipeError(
                f"endpoint.url {self.shown}: has credentials or a query in it, which every manifest would keep",
                "Leave them out, and name the environment variable that holds the key: endpoint.key.",
            )
        self._url, self._key, self._timeout, self._retries = url.rstrip("/"), key, timeout, retries
        self._opener = urllib.request.build_opener(_NoRedirects)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON object that is answered. Raises EndpointError, naming the URL, once tries are used up."""
        return self._tried(path, body, lambda response, deadline: self._object(path, _read(response, deadline)))

    def get(self, path: str) -> dict[str, Any]:
        """The same, asking for something that is there."""
        return self._tried(path, None, lambda response, deadline: self._object(path, _read(response, deadline)))

    def events(self, path: str, body: Mapping[str, Any]) -> Generator[dict[str, Any]]:
        """The JSON objects of a stream of server-sent events, up to `[DONE]`. Tries again only before the first. The
        connection ends with the generator."""
        response = self._tried(path, body, lambda response, deadline: response, keep=True)
        with closing(response):
            try:
                for line in response:
                    text = line.decode("utf-8", errors="replace").strip()
                    if text == "data: [DONE]":
                        return
                    if text.startswith("data:"):
                        yield self._object(path, text.removeprefix("data:").encode())
            except (OSError, http.client.HTTPException) as error:
                what, reason = _reason(error)
                raise EndpointError(
                    f"{self.shown}/{path}: the stream broke off: {self._hidden(what)}", "Ask again.", reason=reason
                ) from error

    def _tried(self, path: str, body: Mapping[str, Any] | None, take: Any, *, keep: bool = False) -> Any:
        failure = _Failure("no try was made")
        for attempt in range(self._retries + 1):
            deadline = time.monotonic() + self._timeout
            try:
                response = self._opener.open(self._request(path, body), timeout=self._timeout)
                if keep:
                    return response
                with closing(response):
                    return take(response, deadline)
            except urllib.error.HTTPError as error:
                with closing(error):
                    failure = self._refused(error)
            except (OSError, http.client.HTTPException) as error:  # URLError and timeouts among them
                what, reason = _reason(error)
                failure = _Failure(self._hidden(what), reason=reason)
            if not failure.passing or attempt == self._retries:
                break
            wait = _pause(attempt) if failure.wait is None else failure.wait
            if wait > LONGEST_WAIT_S:
                break
            time.sleep(wait)
        raise self._error(path, failure)

    def _request(self, path: str, body: Mapping[str, Any] | None) -> urllib.request.Request:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._secret()}"
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        return urllib.request.Request(f"{self._url}/{path}", data=data, headers=headers)

    def _key_itself(self) -> str:
        """As it is sent: without the white space around it. Empty where there is none."""
        return os.environ.get(self._key or "", "").strip()

    def _hidden(self, text: str) -> str:
        """What the server sent, without our key, however it has been quoted."""
        secret = self._key_itself()
        if not secret:
            return text
        quoted = json.dumps(secret)[1:-1]
        ways = {secret, quoted, quoted.replace("/", "\\/"), html.escape(secret), urllib.parse.quote(secret, safe="")}
        for way in sorted(ways, key=len, reverse=True):
            text = text.replace(way, HIDDEN)
        return text

    def _without_key(self, value: Any) -> Any:
        """JSON data likewise."""
        if isinstance(value, str):
            return self._hidden(value)
        if isinstance(value, list):
            return [self._without_key(item) for item in value]
        if isinstance(value, dict):
            return {self._hidden(name): self._without_key(item) for name, item in value.items()}
        return value

    def _secret(self) -> str:
        secret = self._key_itself()
        if not secret:
            raise EndpointError(
                f"the environment variable {self._key}, which endpoint.key names, isn't set",
                f"Set it to the key for {self.shown}.",
                reason="no_key",
            )
        if not secret.isascii() or not secret.isprintable():
            raise EndpointError(
                f"the environment variable {self._key} holds characters that no key has",
                "Set it to the key alone.",
                reason="no_key",
            )
        return secret

    def _refused(self, error: urllib.error.HTTPError) -> _Failure:
        said = " ".join(self._hidden(_said(error)).split())[:LONGEST_SAID]  # hidden first: half a key is one too
        wait = _retry_after(error.headers.get("Retry-After"))
        return _Failure(said, error.code, wait=wait, passing=error.code in PASSING)

    def _error(self, path: str, failure: _Failure) -> EndpointError:
        where, status, said = f"{self.shown}/{path}", failure.status, f": {failure.what}" if failure.what else ""
        tries = f" in {self._retries + 1} tries" if failure.passing and self._retries else ""
        if status is None:
            return EndpointError(
                f"{where}: no answer{tries}{said}",
                "Check that the server runs and that endpoint.url is right.",
                reason=failure.reason,
            )
        if status in (401, 403):
            fix = (
                "Name the environment variable that holds the key: endpoint.key."
                if self._key is None
                else f"Set the environment variable {self._key} to a key that is valid there."
            )
            return EndpointError(f"{where}: the key was refused ({status}){said}", fix, status=status)
        if 300 <= status < 400:
            return EndpointError(
                f"{where}: redirects elsewhere ({status}), where a key isn't sent",
                "Set endpoint.url to the new place.",
                reason="redirect",
            )
        if status == 429:
            asked = "" if failure.wait is None else f"; it asks to wait {failure.wait:g} s"
            return EndpointError(
                f"{where}: too many requests{tries}{said}{asked}",
                "Lower endpoint.concurrency, raise endpoint.retries, or come back later.",
                status=status,
            )
        if status in PASSING:
            return EndpointError(f"{where}: answered {status}{tries}{said}", "Look at the server's log.", status=status)
        return EndpointError(f"{where}: refused the request ({status}){said}", _fix(status), status=status)

    def _object(self, path: str, raw: bytes) -> dict[str, Any]:
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            shown = self._hidden(raw.decode("utf-8", errors="replace"))[:LONGEST_SHOWN]
            raise EndpointError(
                f"{self.shown}/{path}: answered with something that isn't a JSON object: {shown!r}",
                "Check endpoint.url: it ends in /v1 for most servers.",
            )
        return found if len(self._key_itself()) < FEWEST_SECRET else {k: self._without_key(v) for k, v in found.items()}


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _fix(status: int) -> str:
    if status in (404, 405):
        return "Check endpoint.url (it ends in /v1 for most servers) and endpoint.model."
    return "Change what the recipe asks for as the server says."


def _read(response: Any, deadline: float) -> bytes:
    """The whole body. A socket's timeout is for each piece; the deadline is for all of them."""
    pieces, size = [], 0
    while piece := response.read1(1 << 16):
        pieces.append(piece)
        size += len(piece)
        if size > MOST_BYTES:
            raise EndpointError(
                f"an answer of more than {MOST_BYTES >> 20} MiB", "Check endpoint.url.", reason="too_large"
            )
        if time.monotonic() > deadline:
            raise TimeoutError("timed out")
    return b"".join(pieces)


def _said(error: urllib.error.HTTPError) -> str:
    """The server's own message, or what it sent: whole, with all that is in it."""
    try:
        raw = error.read(MOST_SAID)
    except (OSError, http.client.HTTPException):
        return str(error.reason)
    try:
        found = json.loads(raw)
    except ValueError:
        found = None
    inner = found.get("error", found.get("message", found.get("detail"))) if isinstance(found, dict) else None
    message = inner.get("message") if isinstance(inner, dict) else inner
    return message if isinstance(message, str) else raw.decode("utf-8", errors="replace")


def _reason(error: Exception) -> tuple[str, str]:
    """What happened, in words and in one."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "timed out (endpoint.timeout)", "timeout"
    nobody = isinstance(cause, ConnectionRefusedError | socket.gaierror)
    return str(cause) or type(cause).__name__, "unreachable" if nobody else "connection"


def _pause(attempt: int) -> float:
    """Seconds before the next try: twice as long each time, blurred so that many clients don't come back together."""
    return float(min(FIRST_WAIT_S * 2**attempt, LONGEST_WAIT_S) * random.uniform(0.75, 1.25))


def _retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date (RFC 9110, section 10.2.3)."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (email.utils.parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
