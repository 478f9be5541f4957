"""The server as a process: how it starts, what keeps it from starting, and how it ends."""

from __future__ import annotations

import signal
import socket
import time

import httpx2 as httpx
import pytest

from bedplate.errors import UserError
from bedplate.serve.listening import bound_socket

HI = [{"role": "user", "content": "hi"}]


def test_it_says_where_and_what(tiny, plain, serving):
    with serving(f"chatty={tiny}", plain) as server:
        assert [m.id for m in server.client().models.list()] == ["chatty", "plain"]
        assert "chatty: chat, completions" in server.said
        assert "plain: completions" in server.said
        assert server.said[-1] == f"serving on {server.url} (Ctrl-C stops)"
        assert server.stop() == 143
        with pytest.raises(httpx.ConnectError):
            server.health()


def test_sigterm_lets_requests_finish(tiny, serving):
    """A stream under way comes to its end, newcomers are turned away, and the exit code is SIGTERM's."""
    with serving(tiny) as server:
        options = {
            "model": "tiny",
            "messages": HI,
            "max_tokens": 400,
            "temperature": 0,
            "extra_body": {"ignore_eos": True},
        }
        whole = server.client().chat.completions.create(**options).choices[0].message.content
        stream = iter(server.client().chat.completions.create(**options, stream=True))
        pieces = [next(stream).choices[0].delta.content or ""]
        server.process.send_signal(signal.SIGTERM)
        pieces += [chunk.choices[0].delta.content or "" for chunk in stream]
        assert "".join(pieces) == whole
        assert server.stop() == 143
        assert any("finishing 1 requests" in line for line in server.said)


def test_a_second_signal_ends_it_at_once(endless, serving):
    with serving(endless) as server:
        stream = server.client().chat.completions.create(model="endless", messages=HI, max_tokens=900_000, stream=True)
        next(iter(stream))
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        with pytest.raises(httpx.HTTPError):
            server.health()
        assert server.process.poll() is None
        began = time.monotonic()
        assert server.stop(signal.SIGINT) == 130
        assert time.monotonic() - began < 10


def test_draining_has_an_end(endless, serving, tmp_path):
    """Requests that don't finish in time are cut off."""
    with serving(endless, program="serve([sys.argv[1]], port=0, drain_timeout=1)") as server:
        stream = server.client().chat.completions.create(model="endless", messages=HI, max_tokens=900_000, stream=True)
        next(iter(stream))
        began = time.monotonic()
        assert server.stop() == 143
        assert time.monotonic() - began < 10


def test_a_request_has_a_time_limit(endless, serving):
    with serving(endless, program="serve([sys.argv[1]], port=0, request_timeout=0.5)") as server:
        ask = {"model": "endless", "messages": HI, "max_tokens": 900_000}
        assert server.post("/v1/chat/completions", ask).status_code == 504
        streamed = server.post("/v1/chat/completions", ask | {"stream": True}).text
        assert "longer than the 0.5 s" in streamed
        assert not streamed.rstrip().endswith("[DONE]")
        assert server.idle()


def test_a_port_in_use_is_told_before_anything_is_loaded(tiny, cli):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = cli("serve", tiny, "--port", str(port))
    assert done.returncode == 2
    assert f"port {port} of 127.0.0.1 is in use" in done.stderr
    assert "--port 0" in done.stderr
    assert "loading" not in done.stderr


def test_two_servers_that_start_at_once_do_not_share_a_port():
    """The second one is told before it loads anything, though the first doesn't serve yet."""
    with bound_socket("127.0.0.1", 0) as first, pytest.raises(UserError, match="in use"):
        bound_socket("127.0.0.1", first.getsockname()[1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere/model"], "nowhere/model: no such folder"),
        (["x=nowhere"], "nowhere: no such folder"),
        (["{tiny}", "{tiny}"], "the name 'tiny' is taken"),
        (["a={tiny}", "a={plain}"], "the name 'a' is taken"),
        (["a b={tiny}"], "'a b' can't be a model's name"),
        (["{tiny}", "--key-env", "NOT_THERE"], "environment variable NOT_THERE is empty"),
        (["{tiny}", "--host", "192.0.2.1"], "192.0.2.1"),
        (["{tiny}", "--host", "no such host"], "no such host"),
        (["{empty}"], "no config.json"),
    ],
)
def test_what_cannot_be_served_is_told(cli, tiny, plain, tmp_path, arguments, words):
    empty = tmp_path / "empty"
    empty.mkdir()
    given = [a.format(tiny=tiny, plain=plain, empty=empty) for a in arguments]
    port = [] if "--port" in given else ["--port", "0"]
    done = cli("serve", *given, *port)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_another_host_without_a_key_is_warned_of(tiny, serving):
    with serving(tiny, "--host", "0.0.0.0") as server:
        assert any("no key is asked for" in line for line in server.said)
        assert httpx.get(server.url + "/healthz", headers={"Host": "other.example"}).status_code == 200


def test_without_the_extra_it_says_which(cli, tiny, tmp_path):
    hidden = tmp_path / "hidden"
    (hidden / "uvicorn").mkdir(parents=True)
    (hidden / "uvicorn" / "__init__.py").write_text(
        "raise ModuleNotFoundError('No module named uvicorn', name='uvicorn')"
    )
    done = cli("serve", tiny, environment={"PYTHONPATH": str(hidden)})
    assert done.returncode == 2
    assert "pip install 'bedplate[serve]'" in done.stderr
