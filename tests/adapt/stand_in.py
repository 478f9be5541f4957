"""A stand-in for somebody else's OpenAI-compatible server: a real socket on this machine, scripted misbehaviour."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-secret-of-the-test"

Answer = Callable[[dict[str, Any]], str]


@dataclass
class StandIn:
    """trouble: taken from the front, one a request: a status, "drop" (the connection is closed), "garbage" (not JSON),
    a number of seconds as text (slow), a pair of a status and a message, or a dictionary (headers of a 429).

    answer: what a chat is answered.

    logprob: of a token of a text, for `echo`; None where the server doesn't know echo. Tokens are words with the space
    before them. usage: whether replies state it.
    """

    answer: Answer = lambda body: "an answer"
    logprob: Callable[[str, int], float] | None = None
    trouble: list[Any] = field(default_factory=list)
    key: str | None = None
    usage: bool = True
    models: tuple[str, ...] = ("small", "large")
    requests: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> StandIn:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def words(text: str) -> list[str]:
    """Cut before each space or line end that follows something."""
    out = [""]
    for c in text:
        if c in " \n" and out[-1]:
            out.append("")
        out[-1] += c
    return [w for w in out if w]


def _handler(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._reply(200, {"data": [{"id": m} for m in stand_in.models]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with stand_in._lock:
                stand_in.requests.append({"path": self.path, "body": body, "headers": dict(self.headers)})
                trouble = stand_in.trouble.pop(0) if stand_in.trouble else None
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client has given up
                self._answer(body, trouble)

        def _answer(self, body: dict[str, Any], trouble: Any) -> None:
            if trouble == "drop":
                self.connection.close()
                return
            if trouble == "garbage":
                self._reply(200, "<html>hello</html>")
                return
            if isinstance(trouble, dict):
                self._reply(429, {"error": {"message": "slow down"}}, trouble)
                return
            if isinstance(trouble, str):
                time.sleep(float(trouble))
            if isinstance(trouble, tuple):
                self._reply(trouble[0], {"error": {"message": trouble[1]}})
            elif isinstance(trouble, int):
                given = self.headers.get("Authorization", "")
                self._reply(trouble, {"error": {"message": f"told to fail, {given}"}}, {"Location": "/elsewhere"})
            elif stand_in.key is not None and self.headers.get("Authorization") != f"Bearer {stand_in.key}":
                self._reply(401, {"error": {"message": f"bad key {self.headers.get('Authorization')}"}})
            elif body["model"] not in stand_in.models:
                self._reply(404, {"error": {"message": "no such model"}})
            elif body.get("echo"):
                self._echo(body)
            elif body.get("stream"):
                self._stream(body)
            else:
                text = stand_in.answer(body)
                choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
                self._reply(200, {"choices": [choice]} | self._used(json.dumps(body["messages"]), text))

        def _echo(self, body: dict[str, Any]) -> None:
            if stand_in.logprob is None:
                self._reply(400, {"error": {"message": "unsupported field: echo"}})
                return
            pieces = words(body["prompt"])
            offsets = [sum(map(len, pieces[:i])) for i in range(len(pieces))]
            values = [None, *(stand_in.logprob(body["prompt"], i) for i in range(1, len(pieces)))]
            logprobs = {"tokens": [*pieces, "x"], "token_logprobs": [*values, -1.0]}
            logprobs["text_offset"] = [*offsets, len(body["prompt"])]
            choice = {"text": body["prompt"] + "x", "logprobs": logprobs}
            self._reply(200, {"choices": [choice]} | self._used(body["prompt"], "x"))

        def _stream(self, body: dict[str, Any]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for piece in words(stand_in.answer(body)):
                event = {"choices": [{"delta": {"content": piece}, "finish_reason": None}]}
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                self.wfile.flush()
            last = {"choices": [{"delta": {}, "finish_reason": "length"}]} | self._used("a b", "c")
            self.wfile.write(f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n".encode())

        def _used(self, prompt: str, text: str) -> dict[str, Any]:
            if not stand_in.usage:
                return {}
            counts = {"prompt_tokens": len(words(prompt)), "completion_tokens": len(words(text))}
            return {"usage": counts}

        def _reply(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
            raw = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(raw)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

    return Handler
