"""Bounds: of the queue, of bodies and headers, of who may ask; and what browsers are told."""

from __future__ import annotations

import json
import socket

import httpx2 as httpx
import openai
import pytest

from bedplate.errors import UserError
from bedplate.serve.server import serve

HI = [{"role": "user", "content": "hi"}]
ENDLESS = {"model": "endless", "messages": HI, "max_tokens": 900_000, "temperature": 0}


@pytest.fixture(scope="module")
def small(endless, tiny, serving):
    """Two may wait for each model."""
    with serving(endless, tiny, "--max-queue", 2) as server:
        yield server


def test_who_comes_beyond_the_queue_is_told_when_to_come_back(small):
    streams = [small.client().chat.completions.create(**ENDLESS, stream=True, n=8) for _ in range(4)]
    streams += [small.client().chat.completions.create(**ENDLESS, stream=True) for _ in range(2)]
    assert small.eventually(lambda h: h["active"] == 32 and h["waiting"] == 2)
    for stream in (False, True):
        with pytest.raises(openai.RateLimitError, match="34 requests are under way") as caught:
            small.client().chat.completions.create(**ENDLESS, stream=stream)
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= 30
        assert caught.value.code == "queue_full"
    # another model has a queue of its own
    assert small.client().chat.completions.create(model="tiny", messages=HI, max_tokens=3).choices
    streams.pop().close()
    assert small.eventually(lambda h: h["waiting"] == 1)
    with small.client().chat.completions.create(**ENDLESS, stream=True):
        assert small.eventually(lambda h: h["waiting"] == 2)
    for stream in streams:
        stream.close()
    assert small.idle()


def test_a_patient_client_comes_back_and_is_answered(small):
    """The official client waits as Retry-After says, and tries again."""
    streams = [small.client().chat.completions.create(**ENDLESS, stream=True, n=8) for _ in range(4)]
    streams += [small.client().chat.completions.create(**ENDLESS, stream=True, n=2)]
    with pytest.raises(openai.RateLimitError):
        small.client().chat.completions.create(**(ENDLESS | {"max_tokens": 3}))
    for stream in streams:
        stream.close()
    assert small.client(max_retries=2).chat.completions.create(**(ENDLESS | {"max_tokens": 3})).choices


def test_large_bodies_are_refused_before_they_are_read(small):
    answer = small.post("/v1/chat/completions", b" " * (2 * 2**20 + 1))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")

    def endless_parts():
        while True:
            yield b" " * 65536

    try:  # no Content-Length
        answer = httpx.post(
            small.url + "/v1/completions", content=endless_parts(), headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 413
    except httpx.TransportError:
        pass  # the connection was closed while we were still sending
    assert small.idle()


def test_only_json_is_taken(small):
    """A page of another site can send a form or plain text without being asked; JSON it can't."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = httpx.post(
            small.url + "/v1/chat/completions", content=b'{"model": "tiny"}', headers={"Content-Type": kind}
        )
        assert answer.status_code == 415
    with_charset = {"Content-Type": "application/json; charset=utf-8"}
    answer = small.post(
        "/v1/chat/completions", {"model": "tiny", "messages": HI, "max_tokens": 2}, headers=with_charset
    )
    assert answer.status_code == 200


def test_headers_are_bounded(small):
    host, port = small.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000)
        assert connection.recv(4096).startswith(b"HTTP/1.1 4")


@pytest.mark.slow
def test_a_silent_connection_is_closed(small):
    host, port = small.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=25) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert connection.recv(4096) == b""


@pytest.mark.slow
def test_a_connection_that_was_used_and_then_begins_a_request_is_closed_too(small):
    host, port = small.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=25) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):  # head and body may come apart
            answer += connection.recv(4096)
        assert b"200 OK" in answer
        connection.sendall(b"G")
        assert connection.recv(4096) == b""


@pytest.mark.slow
def test_a_stream_that_nobody_reads_gives_its_slots_back(endless, serving):
    """Its time is up although sending hangs; other clients are answered then."""
    call = "serve([sys.argv[1]], port=0, slots=2, max_queue=1, request_timeout=12, drain_timeout=3, dtype='float32')"
    with serving(endless, program=call) as server:
        host, port = server.url.removeprefix("http://").split(":")
        body = json.dumps(ENDLESS | {"stream": True, "logprobs": True, "top_logprobs": 20, "n": 2}).encode()
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((host, int(port)))
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert server.eventually(lambda h: h["active"] == 2)
            assert server.idle(20)
            assert server.client().chat.completions.create(**(ENDLESS | {"max_tokens": 2})).choices


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8000", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8000", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:80", 421),
        ("", 421),
    ],
)
def test_only_names_of_this_machine_are_answered(small, host, status):
    """DNS rebinding: a page of evil.example, whose name was made to point here, may not read answers."""
    for path in ("/", "/healthz", "/v1/models"):
        assert httpx.get(small.url + path, headers={"Host": host}).status_code == status


def test_other_origins_get_no_permission(small):
    origin = {"Origin": "https://evil.example"}
    answer = httpx.get(small.url + "/v1/models", headers=origin)
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    preflight = httpx.request(
        "OPTIONS", small.url + "/v1/chat/completions", headers=origin | {"Access-Control-Request-Method": "POST"}
    )
    assert preflight.status_code == 405


def test_headers_that_browsers_obey(small):
    page = httpx.get(small.url + "/")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"
    for answer in (page, httpx.get(small.url + "/v1/models"), httpx.get(small.url + "/nothing")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "server" not in answer.headers


# -- the key -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked(tiny, serving):
    with serving(tiny, "--key-env", "TEST_KEY", environment={"TEST_KEY": "s3cret"}, key="s3cret") as server:
        yield server


def test_the_right_key_opens(locked):
    assert locked.client().models.list().data[0].id == "tiny"
    assert locked.client().chat.completions.create(model="tiny", messages=HI, max_tokens=2).choices


@pytest.mark.parametrize(
    "header", [None, "", "s3cret", "Bearer", "Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "Bearer é"]
)
def test_without_it_everything_is_shut(locked, header):
    headers = {} if header is None else {"Authorization": header.encode()}
    for method, path in (
        ("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("POST", "/v1/completions"),
        ("POST", "/v1/embeddings"), ("GET", "/v1/models/tiny"), ("GET", "/nothing"), ("POST", "/"),
        ("DELETE", "/healthz"),
    ):  # fmt: skip
        answer = httpx.request(method, locked.url + path, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert "s3cret" not in answer.text


def test_a_key_that_no_header_can_carry_is_refused_at_once(monkeypatch):
    for key in ("schlüssel", "a\nb"):
        monkeypatch.setenv("TEST_KEY", key)
        with pytest.raises(UserError, match="TEST_KEY holds characters") as caught:
            serve(["nothing"], key_env="TEST_KEY")
        assert key not in str(caught.value)


def test_health_and_page_are_open_and_tell_no_names(locked):
    assert locked.health() == {"status": "ok", "active": 0, "waiting": 0, "requests": 0}
    assert "tiny" not in httpx.get(locked.url + "/").text
    assert not any("s3cret" in line for line in locked.said)
